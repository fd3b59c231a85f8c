"""A file in, traces and rejections out, whatever program has written it.

    for found in read_file(Path("spans.jsonl")):
        ...

A record is read at a time. Nothing of a record that cannot be used is repeated: it was not
redacted, and half of a secret is not recognised as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.close_names import find_close_name
from assay.data.formats.record import Raw, RecordProblems
from assay.data.inspection import inspect_file
from assay.data.problems import CODES
from assay.errors import DataError, UsageError
from assay.release.imported import langfuse, litellm, otel, plain, stored_completions
from assay.release.imported.raw import RawCall, TraceFormat, Unusable, build
from assay.release.imported.trace import ImportedTrace

FORMATS: tuple[TraceFormat, ...] = (
    otel.FORMAT,
    litellm.FORMAT,
    langfuse.FORMAT,
    stored_completions.FORMAT,
    plain.FORMAT,
)
"""In the order in which a record is compared with them."""
NAMES = tuple(one.name for one in FORMATS)


@dataclass(frozen=True, slots=True)
class FoundTrace:
    """What a place of a file holds.

    Attributes:
        line: where its record begins; `place`: within the record.
        format: None where the record has none that is known.
        key: what tells it from other traces of its format; "" where only its place does.
        trace: None where it was rejected, or (without `reason`) is no call of a model.
    """

    line: int
    place: str = ""
    format: str | None = None
    key: str = ""
    trace: ImportedTrace | None = None
    reason: str | None = None


def format_named(name: str) -> TraceFormat:
    """The format of a name.

    Raises:
        UsageError: there is none.
    """
    found = next((one for one in FORMATS if one.name == name), None)
    if found is None:
        close = find_close_name(name, NAMES)
        raise UsageError(
            f"there is no format {name!r} of traces. Formats: {', '.join(NAMES)}.",
            fix=f"Did you mean {close!r}?" if close else None,
        )
    return found


def read_file(path: Path, forced: TraceFormat | None = None) -> Iterator[FoundTrace]:
    """What stands in a file, place by place; what cannot be read ends in a rejection.

    Args:
        forced: the format; None: each record's own.

    Raises:
        DataError: there is no such file, or nobody may read it.
    """
    if not path.is_file():
        inspect_file(path)  # which says why
    problems = RecordProblems(str(path))
    line = 1
    try:
        content = inspect_file(path)
        if content.container not in ("json", "jsonl"):
            yield FoundTrace(1, reason="the file is neither JSON nor JSON Lines.")
            return
        for raw in content.records():
            line = raw.line
            yield from _traces(raw, path, forced, problems)
    except DataError as error:
        yield FoundTrace(line, reason=f"the file cannot be read from here on: {error.what}")


def _traces(
    raw: Raw, path: Path, forced: TraceFormat | None, problems: RecordProblems
) -> Iterator[FoundTrace]:
    """The traces of one record."""
    if raw.problems:
        yield FoundTrace(raw.line, reason=f"{CODES[raw.problems[0].code][1]}.")
        return
    format = forced or next((one for one in FORMATS if one.matches(raw.value)), None)
    if format is None:
        yield FoundTrace(raw.line, reason="the record has the fields of no format that is known.")
        return
    problems.start(raw.line)
    yield from read_record(raw.value, format, path, problems)


def read_record(
    record: dict[str, Any],
    format: TraceFormat,
    path: Path,
    problems: RecordProblems | None = None,
) -> Iterator[FoundTrace]:
    """The traces of one record.

    Args:
        path: of its file, beside which more may be.
        problems: at the record's line; None: it stands in no file.
    """
    problems = problems or RecordProblems("")
    line = problems.line
    for found in format.read(record, path):
        problems.start(line)
        made = build(found, problems) if isinstance(found, RawCall) else found
        if made is None:
            yield FoundTrace(line, format=format.name)
        elif isinstance(made, Unusable):
            yield FoundTrace(line, made.place, format.name, reason=made.reason)
        else:
            assert isinstance(found, RawCall)
            yield FoundTrace(line, found.place, format.name, found.key, made)
