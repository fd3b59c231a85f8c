"""Times, sizes and errors as pages say them."""

from __future__ import annotations

from datetime import UTC, date, datetime

from assay.compare.report import typed_names
from assay.errors import AssayError


def format_time(at: datetime) -> str:
    """When something was, for a person: short, and in UTC, so that all read the same. In a narrow
    place it breaks between day and time alone."""
    at = at.astimezone(UTC)
    return f"{format_day(at)}, {at:%H:%M}\N{NO-BREAK SPACE}UTC"


def format_day(day: date) -> str:
    """A day, for a person: no line breaks within it."""
    return f"{day:%-d %b %Y}".replace(" ", "\N{NO-BREAK SPACE}")


def format_clock(at: datetime) -> str:
    """When a line of a log was written, whose day is said elsewhere."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"


def format_size(bytes: int) -> str:
    """Of files or memory, for a person."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if bytes >= factor:
            return f"{bytes / factor:.1f} {unit}"
    if bytes < 1000:
        return "1 byte" if bytes == 1 else f"{bytes} bytes"
    return f"{bytes / 1e3:.0f} kB"


def stand_alone(said: AssayError | str) -> str:
    """An error, which a terminal shows behind a colon, as a sentence of its own. One that begins
    with a name or with code stays as it is."""
    text = str(said)
    is_named = isinstance(said, AssayError) and said.where is not None
    return text if is_named or not text.split(" ")[0].isalpha() else text[:1].upper() + text[1:]


def quote_typed(text: str) -> str:
    """A sentence for a place that shows no code: what is typed stands in quotes."""
    parts = typed_names.divide(text)
    return "".join(f"“{part}”" if is_typed else part for part, is_typed in parts)
