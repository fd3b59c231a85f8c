"""Whether a holdout that was opened, or that a comparison is going to open, may stay, though files
or settings have changed, and if not, why.

It stays as it is while all its rows are usable rows of the file, and the settings that drew it are
what they were: whatever else was added, mended or taken out is for training and validation.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from assay.config import Config
from assay.data.contents import quote_label
from assay.data.formats import openai_turns
from assay.data.gather import ExampleSource, GatheredExamples
from assay.data.normal import normalise
from assay.data.partition import merge_references
from assay.data.split import HOLDOUT, SplitManifest
from assay.errors import HoldoutError, Step
from assay.example import Example, read_examples

MOST_NAMED = 5
ROW_NUMBER_ID = re.compile(r"row-(\d+)(?:/\d+)?")
"""An id that the file does not give: the row's number when it was first read."""


def drawing_settings(config: Config) -> dict[str, Any]:
    """Settings that decide which rows of a file are in the holdout, by their paths."""
    data = config.data
    return {
        "task": config.task,
        "data.holdout": data.holdout,
        "data.holdout_rows": data.holdout_rows,
        "data.split.holdout": None if data.holdout else data.split.holdout,
        "data.split.seed": data.split.seed,
        "data.columns.group": None if data.columns is None else data.columns.group,
        # Other formats are told by the content, and whether they are written down makes no odds.
        "data.format": data.format if data.format == openai_turns.NAME else "another",
    }


def changes_of_holdout(
    drawn_by: Mapping[str, Any], classes: Mapping[str, Sequence[int]], config: Config
) -> list[str]:
    """Why settings would make another holdout, each the clause of a sentence.

    Args:
        drawn_by: `drawing_settings` of the holdout; empty where nobody has written them down.
        classes: rows of each label in train, validation and holdout.
    """
    now = drawing_settings(config)
    found = [
        f"`{path}` is {_shown(now[path])} and was {_shown(before)}"
        for path, before in drawn_by.items()
        if path in now and now[path] != before
    ]
    held = [label for label in lost_labels(classes, config) if classes[label][2]]
    return found + [
        f"{describe_lost(label, classes)}, {classes[label][2]} of them in the holdout"
        for label in held[:MOST_NAMED]
    ]


def lost_labels(classes: Mapping[str, Sequence[int]], config: Config) -> list[str]:
    """The labels of rows that settings do not have: these rows cannot be used."""
    if config.task != "label" or config.labels is None:
        return []
    return [label for label, rows in classes.items() if any(rows) and label not in config.labels]


def describe_lost(label: str, classes: Mapping[str, Sequence[int]]) -> str:
    """A label that settings do not have, and how many rows have it; the clause of a sentence."""
    rows = sum(classes[label])
    have = "1 row has it" if rows == 1 else f"{rows:,} rows have it"
    return f"the label {quote_label(label)} is not among the labels, but {have}"


def take_out(
    pool: Sequence[Example], holdout: Sequence[Example], *, text: bool
) -> tuple[list[Example], int]:
    """The rows of a file without those of a holdout, and how many of the holdout are not there.

    Args:
        text: outputs of one input were made one row (`merge_references`).
    """
    asked = {normalise(example.input) for example in holdout}
    same = [example for example in pool if normalise(example.input) in asked]
    if text:
        same = merge_references(example for example in same if example.liked)
    wanted = Counter(example.content_hash() for example in holdout)
    missing = wanted - Counter(example.content_hash() for example in same)
    rest = []
    for example in pool:
        if normalise(example.input) not in asked:
            rest.append(example)
        elif not text and wanted[content := example.content_hash()]:
            wanted[content] -= 1
        elif not text:
            rest.append(example)  # the same input once more: it comes into quarantine
    return rest, missing.total()


def groups_in_holdout(rows: Iterable[Example], holdout: Iterable[Example]) -> dict[str, str]:
    """Groups that rows of the file name, and what they are called in the holdout.

    Several groups of the file may be one there, under the first of their names (`with_groups`), and
    a row may have been given another group since: all of them have to be kept out.
    """
    held = {normalise(example.input): example.group for example in holdout}
    return {
        row.group: group
        for row in rows
        if row.group is not None and (group := held.get(normalise(row.input))) is not None
    }


def keep_ids(
    pool: Sequence[Example], before: Sequence[Example], holdout: Sequence[Example], rows: int
) -> list[Example]:
    """The rows of a file under the ids that they had when a holdout was locked, so that none has
    the id of a row of the holdout, which keeps its own whatever is removed above it.

    Rows that were not drawn keep their own number. It is taken where the file lost a row above
    one that is new or says something else: these get the next numbers.

    Args:
        before: rows of the split beside its holdout.
        rows: that the file had then.
    """
    known: dict[tuple[str, str], list[str]] = defaultdict(list)
    for example in before:
        known[example.input, example.output].append(example.id)
    numbers = (ROW_NUMBER_ID.fullmatch(example.id) for example in (*before, *holdout, *pool))
    last = max((int(found[1]) for found in numbers if found), default=0)
    fresh = count(max(last, rows) + 1)
    taken = {example.id for example in (*before, *holdout)}
    kept = []
    for example in pool:
        if ROW_NUMBER_ID.fullmatch(example.id):
            ids = known[example.input, example.output]
            if ids:
                example = replace(example, id=ids.pop(0))
            elif example.id in taken:
                example = replace(example, id=f"row-{next(fresh)}")
        kept.append(example)
    return kept


def _renamed(rows: Iterable[Example], names: Mapping[str, str]) -> list[Example]:
    return [replace(row, group=names.get(row.group or "", row.group)) for row in rows]


def pin_holdout(
    source: ExampleSource,
    folder: Path,
    found: GatheredExamples,
    present: SplitManifest,
    seen: Sequence[Example],
    *,
    is_opened: bool,
) -> None:
    """Let the rows of a holdout stay in it, whatever else of the file has changed.

    Args:
        seen: all rows that the split holds.
        is_opened: whether it was opened. One that a comparison is only going to open does not stay
            where some of its rows are no longer there, or settings would draw others.

    Raises:
        HoldoutError: it was opened, and does not stay.
    """
    config = source.config
    why = changes_of_holdout(present.drawn_by, present.classes, config)
    if not why:
        holdout = list(read_examples(folder / HOLDOUT))
        names = groups_in_holdout([*found.pool, *(found.validation or ())], holdout)
        pool, missing = take_out(_renamed(found.pool, names), holdout, text=config.task == "text")
        if config.data.columns is None or config.data.columns.id is None:
            held = {example.id for example in holdout}
            before = [example for example in seen if example.id not in held]
            pool = keep_ids(pool, before, holdout, present.rows)
        if not missing:
            if found.validation is not None:
                found.validation = _renamed(found.validation, names)
            found.pool, found.holdout, found.is_kept = pool, holdout, True
        else:
            lost = "1 of its rows was" if missing == 1 else f"{missing} of its rows were"
            why = [f"{lost} changed or removed in the data, or cannot be used any more"]
    if why and is_opened:
        raise refusal(str(folder), why)


def tell_unmeasured_labels(train: Iterable[Example], holdout: Iterable[Example]) -> list[str]:
    """A warning where rows of further labels were added once a comparison had taken the holdout."""
    new = {example.output for example in train} - {example.output for example in holdout}
    if not new:
        return []
    have = "1 label has" if len(new) == 1 else f"{len(new)} labels have"
    return [
        f"{have} no holdout row, because their rows came after a comparison had taken it: no "
        "score covers them."
    ]


def refusal(where: str, why: Sequence[str]) -> HoldoutError:
    """The error of a split that would have another holdout than the one that was opened.

    Args:
        why: clauses of `changes_of_holdout`, or of what else is known; empty: nothing is.
    """
    reason = "; ".join(why) or "the current data or settings would create a different one"
    return HoldoutError(
        f"the holdout was already opened and cannot change, but {reason}. Rows that were measured "
        "could otherwise be used for training.",
        where=where,
        fix=f"Undo this change, or collect new examples and start afresh with "
        f"{Step.RENEW_HOLDOUT}.",
    )


def refusal_without_split(where: str) -> HoldoutError:
    """The error of a split that is gone and would come back with another holdout."""
    return HoldoutError(
        "the split is gone, and its holdout was opened: a new one would have another holdout, "
        "whose rows may have been trained on.",
        where=where,
        fix="Restore the folder from a backup. If there is none, start a new project with new "
        "examples.",
    )


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
