"""Whether the records of a file are whole dialogues, of which each turn could be a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from assay.data.dialogues import content_of
from assay.data.formats import openai_chat, openai_turns
from assay.data.formats.record import RecordProblems
from assay.data.inspection import inspect_file
from assay.data.read import DetectedFormat
from assay.errors import DataError
from assay.example import Example, json_sha256
from assay.quantities import say_count


@dataclass(frozen=True, slots=True)
class TurnCounts:
    """What a file of conversations holds.

    Attributes:
        records: conversations.
        rows: turns of the assistant that are learned.
        calling: conversations in which a function is called before the last of these turns.
        are_cut: most conversations of several turns go on from another one of the file: somebody
            has made a record of each turn already.
        is_all: whether the file holds no more conversations.
    """

    records: int
    rows: int
    calling: int
    are_cut: bool
    is_all: bool

    @property
    def is_proposed(self) -> bool:
        """Whether most are dialogues with calls that nothing would be measured by otherwise."""
        return not self.are_cut and 2 * self.calling > self.records

    def describe(self, *, by_turns: bool) -> str:
        """What becomes of the conversations, a clause."""
        first = "" if self.is_all else "the first "
        held = (
            f"{first}{say_count(self.records, 'conversation')}, {self.calling} of which call a "
            "function before their last turn"
        )
        if by_turns:
            return (
                f"{held}: each turn of the assistant is a row, {self.rows} in all, and the rows of "
                "a conversation stay together"
            )
        if self.are_cut:
            held += (
                "; most of those with several turns go on from another conversation of the file, "
                "so that each turn is the last of some row"
            )
        return f"{held}: only the last turn of each is measured"


def count_turns(path: Path, detected: DetectedFormat, most: int) -> TurnCounts | None:
    """How many turns the conversations of a file hold; None where no function is called before the
    last one of any.

    Args:
        most: once so many rows are counted, no further conversation is looked at.
    """
    if detected.format != openai_chat.SHAPE.name:
        return None
    records = rows = calling = 0
    is_all = True
    dialogues: list[list[str]] = []
    for raw in inspect_file(path, openai_turns.NAME).records():
        if raw.problems:
            continue
        if rows >= most:
            is_all = False
            break
        [part] = openai_turns.parts(raw.value)
        example = openai_chat.example(part, "", RecordProblems(""))
        targets = [] if example is None else openai_turns.find_targets(example.messages)
        if example is None or not targets:
            continue
        records += 1
        rows += len(targets)
        calling += any(example.messages[n].tool_calls for n in targets[:-1])
        dialogues.append(_hashes(example, targets))
    if not calling:
        return None
    wholes = {hashes[-1] for hashes in dialogues}
    several = [hashes for hashes in dialogues if len(hashes) > 1]
    going_on = sum(not wholes.isdisjoint(hashes[:-1]) for hashes in several)
    return TurnCounts(records, rows, calling, 2 * going_on > len(several), is_all)


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


def _hashes(example: Example, targets: list[int]) -> list[str]:
    """A hash of what is said up to each turn that is a row."""
    ends = set(targets)
    found, so_far = [], ""
    for place, message in enumerate(example.messages[: targets[-1] + 1]):
        if message.role not in ("system", "developer"):
            so_far = json_sha256([so_far, content_of(message)])
        if place in ends:
            found.append(so_far)
    return found
