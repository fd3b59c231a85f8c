"""Inputs that nobody has labelled: rows as the project's file has them, without their output.

A record is a conversation (`messages`, up to the turn that is to be answered) or has the input
columns of the project's examples. An output that is there is not read.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.config import Columns
from assay.data.formats.messages import tools, turns
from assay.data.formats.objects import shape
from assay.data.formats.record import RecordProblems
from assay.data.inspection import inspect_file
from assay.data.overlap import overlap
from assay.data.partition import components, with_groups
from assay.data.read import container_format
from assay.errors import DataError
from assay.example import Example, Message
from assay.progress import SILENT, Progress


@dataclass(frozen=True, slots=True)
class UnlabelledInputs:
    """Inputs to be answered; the target of each example is empty.

    Attributes:
        examples: those that are alike share a group.
        twins: inputs that were left out, being equal or near to rows that candidates may know.
    """

    examples: tuple[Example, ...]
    twins: int


def conversation(messages: Sequence[Message], id: str, **fields: Any) -> Example | None:
    """The input of a conversation, up to the last turn that is not the assistant's; None where
    there is none."""
    asked = list(messages)
    while asked and asked[-1].role == "assistant":
        asked.pop()
    if not any(message.role == "user" for message in asked):
        return None
    return Example(id=id, messages=(*asked, Message("assistant", "")), **fields)


def read_inputs(
    address: Path | str, columns: Columns | None, progress: Progress = SILENT
) -> Iterator[Example]:
    """The inputs of a file.

    Args:
        columns: of the project's examples; None where these are conversations.

    Raises:
        DataError: the file cannot be read, or a record has no input; it is named.
    """
    content = inspect_file(address)
    found = RecordProblems(content.file)
    by_columns = None
    if columns is not None:
        wanted = columns.model_copy(update={"output": [], "id": None, "document": None})
        by_columns = shape(container_format(content), wanted)
    with progress.task("Reading inputs", None, "rows") as bar:
        for number, raw in enumerate(content.records(), start=1):
            found.start(raw.line)
            record, example = raw.value, None
            if not raw.problems and isinstance(record, dict):
                if "messages" in record:
                    asked = turns(record["messages"], found)
                    offered = tools(record.get("tools"), found)
                    example = conversation(asked, f"input-{number}", tools=offered)
                elif by_columns is not None:
                    example = by_columns.example(record, f"input-{number}", found)
            if example is None or found.failed or not example.input.strip():
                said = [one.message for one in (*raw.problems, *found.problems)]
                raise DataError(
                    f"this record has no input{f' ({said[0]})' if said else ''}.",
                    where=f"{content.file}, line {raw.line}",
                    fix="Give it `messages`, or the input columns of the project's examples.",
                )
            yield replace(example, line=raw.line)
            bar.advance(1)


def choose_inputs(
    inputs: Iterable[Example], known: Sequence[Example], most: int, progress: Progress = SILENT
) -> UnlabelledInputs:
    """At most so many of the inputs, drawn by a hash of what they say and of their place, without
    twins of rows that are known.

    Args:
        known: train and validation, from which candidates are made.
    """
    drawn = heapq.nsmallest(most, inputs, key=_draw)
    fresh = without_twins(drawn, known, progress)
    grouped = with_groups(fresh, components(fresh, progress)) if fresh else []
    return UnlabelledInputs(tuple(grouped), len(drawn) - len(fresh))


def without_twins(
    inputs: Sequence[Example], known: Sequence[Example], progress: Progress = SILENT
) -> list[Example]:
    """The inputs that are neither equal nor near to one that is known."""
    found = overlap(
        ((row, example.input) for row, example in enumerate(inputs)),
        ((row, example.input) for row, example in enumerate(known)),
        progress,
    )
    return [example for row, example in enumerate(inputs) if row not in found.train_rows]


def _draw(example: Example) -> str:
    return hashlib.sha256(f"{example.id}\0{example.content_hash()}".encode()).hexdigest()
