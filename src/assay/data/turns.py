"""Whether the records of a file are whole dialogues, of which each turn could be a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path

from assay.data.dialogues import content_of
from assay.data.formats import openai_chat, openai_turns
from assay.data.read import DetectedFormat, read
from assay.errors import DataError
from assay.example import Example, json_sha256
from assay.progress import SILENT, Progress
from assay.quantities import say_count


@dataclass(frozen=True, slots=True)
class TurnCounts:
    """What a file of conversations holds.

    Attributes:
        records: conversations.
        rows: turns of the assistant that are learned.
        calling: conversations in which a function is called before the last of these turns.
        are_cut: some conversation begins another one: a row was made of each turn already.
    """

    records: int
    rows: int
    calling: int
    are_cut: bool

    @property
    def is_proposed(self) -> bool:
        """Whether most are dialogues with calls that nothing would be measured by otherwise."""
        return not self.are_cut and 2 * self.calling > self.records

    def describe(self, *, by_turns: bool) -> str:
        """What becomes of the conversations, a clause."""
        held = (
            f"{say_count(self.records, 'conversation')}, {self.calling} of which call a function "
            "before their last turn"
        )
        if by_turns:
            return (
                f"{held}: each turn of the assistant is a row, {self.rows} in all, and the rows of "
                "a conversation stay together"
            )
        return f"{held}: only the last turn of each is measured"


def count_turns(
    path: Path, detected: DetectedFormat, most: int, progress: Progress = SILENT
) -> TurnCounts | None:
    """How many turns the conversations of a file hold; None where no function is called before the
    last one of any.

    Args:
        most: rows that are looked at.
    """
    if detected.format != openai_chat.SHAPE.name:
        return None
    records = rows = calling = 0
    wholes, beginnings = set[str](), set[str]()
    found = islice(read(path, openai_turns.NAME, progress=progress), most)
    for _, of_record in groupby(found, key=attrgetter("record")):
        examples = [row.example for row in of_record if row.example is not None]
        if not examples:
            continue
        records += 1
        rows += len(examples)
        calling += any(example.target.tool_calls for example in examples[:-1])
        *before, whole = _hashes(examples)
        beginnings.update(before)
        wholes.add(whole)
    if not calling:
        return None
    return TurnCounts(records, rows, calling, not wholes.isdisjoint(beginnings))


def choose_format(
    detected: DetectedFormat, wanted: str | None, turns: TurnCounts | None, file: str
) -> DetectedFormat:
    """What was found, with the format by which conversations are read.

    Args:
        wanted: None: as it is proposed.

    Raises:
        DataError: the file does not have the format that is wanted.
    """
    if wanted is None:
        wanted = openai_turns.NAME if turns is not None and turns.is_proposed else detected.format
    of_chat = {openai_chat.SHAPE.name, openai_turns.NAME}
    if wanted != detected.format and not {wanted, detected.format} <= of_chat:
        raise DataError(
            f"the file is {detected.format}, not {wanted}.",
            where=file,
            fix="Leave out the format; it is detected from the content.",
        )
    return replace(detected, format=wanted)


def _hashes(examples: list[Example]) -> list[str]:
    """A hash of what is said up to each row's target; the rows are those of one dialogue."""
    ends = {len(example.messages) for example in examples}
    found, so_far = [], ""
    for number, message in enumerate(examples[-1].messages, start=1):
        if message.role not in ("system", "developer"):
            so_far = json_sha256([so_far, content_of(message)])
        if number in ends:
            found.append(so_far)
    return found
