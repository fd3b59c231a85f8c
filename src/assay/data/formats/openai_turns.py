"""`openai-turns`: whole dialogues in `openai-chat`, each turn of the assistant a row.

    {"messages": [user, call, result, answer], "tools": [...]}   # two rows: the call, the answer

A row is the conversation up to one turn, which alone it learns and is measured by: the turns before
it are shown. A turn of weight 0 is shown and no row, and so is a greeting before anybody else has
spoken; what follows the last turn that is a row is left out. No file is taken for this format by
its content: it is how a file of `openai-chat` is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from assay.data.encoding import LINE_LIMIT
from assay.data.formats import openai_chat
from assay.data.formats.record import Record, RecordProblems, Shape, json_text
from assay.errors import DataError
from assay.example import Example, Message, json_sha256

NAME = "openai-turns"
FILE_LIMIT = 4 * 2**30
"""Characters that the rows of a file may repeat of one another, together."""
OF_THE_LAST = ("references", "possible", "assertions")
"""Fields of a record that say what is right at its last turn."""


def parts(record: Record) -> list[Record]:
    """The record up to its last turn that can be a row; as it is where there is none."""
    turns: Any = record.get("messages")
    said = [
        n
        for n, turn in enumerate(turns if isinstance(turns, list) else ())
        if isinstance(turn, dict) and turn.get("role") == "assistant"
    ]
    # False equals 0, and is no weight: that is said of the turn where it is read.
    learned = [n for n in said if (weight := turns[n].get("weight")) is False or weight != 0]
    if not learned:
        return [record]
    kept = {**record, "messages": turns[: learned[-1] + 1]}
    if learned[-1] != said[-1]:
        kept = {name: value for name, value in kept.items() if name not in OF_THE_LAST}
    return [kept]


def find_targets(messages: Sequence[Message]) -> list[int]:
    """The places of the turns that are rows: learned, and said after somebody else has spoken."""
    spoken = (n for n, one in enumerate(messages) if one.role in ("user", "tool"))
    begun = next(spoken, len(messages))
    return [
        n for n, one in enumerate(messages) if one.role == "assistant" and one.trained and n > begun
    ]


def cut(record: Record, example: Example, found: RecordProblems) -> list[tuple[Record, Example]]:
    """A row for each turn that is learned, with the record up to it.

    Where there are several, they have one group: that of the record, or one named by what is said.

    Raises:
        DataError: the rows of the file would repeat too much of one another.
    """
    messages, targets = example.messages, find_targets(example.messages)
    if not targets:
        found.add(
            "nothing-trained",
            "the assistant says nothing that is learned once somebody else has spoken.",
            "Add the assistant's answer, or remove the record.",
            "messages",
        )
        return []
    beside = len(json_text({name: value for name, value in record.items() if name != "messages"}))
    ends = list(accumulate(len(json_text(turn)) for turn in record["messages"]))
    size = sum(ends[n] + beside for n in targets)
    if size > LINE_LIMIT:
        found.add(
            "dialogue-too-large",
            f"cut into {len(targets):,} rows, each with all turns before it, the dialogue takes "
            f"more than {LINE_LIMIT // 2**20} MB.",
            "Split it into several records, or give the turns that need no row weight 0.",
            "messages",
        )
        return []
    found.repeated += size - ends[targets[-1]] - beside
    if found.repeated > FILE_LIMIT:
        raise DataError(
            f"the rows of this file repeat more than {FILE_LIMIT // 2**30} GB of one another: each "
            "turn is a row with all turns before it.",
            where=f"{found.file}, line {found.line}",
            fix="Split long dialogues into several records, or give the turns that need no row "
            f"weight 0; {openai_chat.SHAPE.name} as the format makes one row of each.",
        )
    shown = tuple(replace(m, trained=False) if m.role == "assistant" else m for m in messages)
    group = example.group
    if group is None and len(targets) > 1:
        # By what is said: ids may mean other dialogues in another file.
        group = f"dialogue-{json_sha256([m.to_dict() for m in shown])[:16]}"
    rows = []
    for number, n in enumerate(targets, start=1):
        row = replace(example, messages=(*shown[:n], messages[n]), group=group)
        if len(targets) > 1:
            row = replace(row, id=f"{example.id}/{number}")
        if n != targets[-1]:
            row = replace(row, references=(), possible=(), assertions=())
        rows.append(({**record, "messages": record["messages"][: n + 1]}, row))
    return rows


SHAPE = Shape(
    NAME,
    "messages",
    lambda record: False,
    openai_chat.example,
    parts,
    cut,
    openai_chat.READS,
)
