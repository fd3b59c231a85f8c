"""What the tree of shared prefixes saves on dialogues of which every call is a row.

    python bench/dialogues.py

The rows of sgd_restaurants as `assay init` divides them, written by the starter's template. Nothing
is trained: the trainer's own plan (`assay.prefix.trunk`) says which rows of a step go through the
model together, and its packs have the tokens that are computed, shared ones once. Steps are those
of the first epoch, with as many rows as `rows_per_step: auto` takes, and with 32; beside them what
the beginning that all rows share would save alone, and steps in which the rows of a dialogue stand
one behind the other.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from assay import project
from assay.prefix.pack import packed_tokens
from assay.prefix.tree import common_length
from assay.prefix.trunk import group_by_trunk
from assay.project.start.init import Choices
from assay.train.auto import rows_per_step
from assay.train.sequences import epoch_order
from assay.train.step import ENOUGH
from public_data import data_folder

TOKENS_PER_PASS = 4096
Row = tuple[int, ...]


def computed(rows: Sequence[Row]) -> int:
    """Tokens of a step that go through the model."""
    total = 0
    for group in group_by_trunk([[row] for row in rows], TOKENS_PER_PASS, ENOUGH["cpu"]):
        start = len(group.trunk)
        total += start + sum(packed_tokens([rows[i][start:] for i in one]) for one in group.passes)
    return total


def with_beginning_once(rows: Sequence[Row], beginning: int) -> int:
    """Tokens of a step if only what all rows begin with were shared."""
    return sum(map(len, rows)) - beginning * (len(rows) - 1)


def main() -> None:
    """Divide, write, plan, print."""
    with tempfile.TemporaryDirectory() as folder:
        data = data_folder() / "sgd_restaurants" / "calls.jsonl"
        drafted = project.draft("restaurants", Choices(data=data))
        made = project.create(drafted, folder=Path(folder) / "restaurants")
        context = made.context()
        template, _ = made.template
        prompt = made.config.system_prompt
        rows, groups = [], []
        for example in context.train:
            written = template.render(example.with_system(prompt).messages, example.tools)
            rows.append(tuple(written.ids))
            groups.append(example.group)
    whole, count_rows = sum(map(len, rows)), len(rows)
    beginning = common_length(min(rows), max(rows))
    print(f"{len(rows)} rows of {len({*groups})} dialogues, {whole:,} tokens,", end=" ")
    print(f"{whole / len(rows):.0f} a row, of which all share the first {beginning}")
    dialogues: dict[str | None, list[Row]] = defaultdict(list)
    for row, group in zip(rows, groups, strict=True):
        dialogues[group].append(row)
    together = list(dialogues.values())
    orders = {
        "at random": [rows[i] for i in epoch_order(len(rows), 0, 0)],
        "of dialogues at random": [
            row for i in epoch_order(len(together), 0, 0) for row in together[i]
        ],
    }
    steps = {
        f"{count} rows {order} a step": [
            found[at : at + count] for at in range(0, count_rows, count)
        ]
        for count in (rows_per_step(count_rows), 32)
        for order, found in orders.items()
    }
    steps["all rows a step"] = [rows]
    for name, found in steps.items():
        through = sum(map(computed, found))
        alone = sum(with_beginning_once(step, beginning) for step in found)
        print(f"{name}: {through / whole:.1%} of the tokens go through the model,", end=" ")
        print(f"{alone / whole:.1%} if only the common beginning were shared")


if __name__ == "__main__":
    main()
