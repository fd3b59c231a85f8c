"""What a reader finds of one call, and how that becomes a trace, or a reason why it cannot."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.data.formats.messages import tools, turns
from assay.data.formats.record import RecordProblems
from assay.data.problems import CODES
from assay.example import canonical_json
from assay.release.imported.trace import ImportedTrace
from assay.release.traces import MOST_BYTES, Thumb

TOO_LONG = f"request and answer are longer than {MOST_BYTES // 1024} KiB."
_CUT = ("length", "max_tokens", "MAX_TOKENS")


@dataclass(frozen=True, slots=True)
class RawCall:
    """One call as a reader finds it: nothing is checked yet.

    Attributes:
        place: within the record, such as `span 3`; "" where a record is one call.
        key: what tells it from every other call of its format; "" where nothing does.
        messages: a list of turns in OpenAI's form, if all is well.
        answer: the assistant's turn.
        tools: a list of definitions, or the JSON text of one.
        finish: why the answer ended, as the program calls it.
    """

    messages: Any
    answer: Any
    place: str = ""
    key: str = ""
    id: Any = ""
    tools: Any = None
    model: Any = None
    provider: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    cached_tokens: Any = None
    usd: Any = None
    seconds: Any = None
    at: str | None = None
    thumb: Thumb | None = None
    corrected: Any = None
    finish: Any = None


@dataclass(frozen=True, slots=True)
class Unusable:
    """A call that cannot be used.

    Attributes:
        reason: a sentence that repeats nothing of the call, which may hold personal data.
    """

    reason: str
    place: str = ""


Found = RawCall | Unusable | None
"""None: something else than the call of a model, such as the span of a web server."""


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A form in which another program keeps traces.

    Attributes:
        name: for `--format`.
        matches: whether a record has it.
        read: the calls of a record; the path is that of its file, beside which more may be.
    """

    name: str
    matches: Callable[[dict[str, Any]], bool]
    read: Callable[[dict[str, Any], Path], Iterator[Found]]


def build(raw: RawCall, found: RecordProblems) -> ImportedTrace | Unusable:
    """The trace of a call that was found, or why it is none."""
    if not isinstance(raw.messages, list):
        return Unusable("the messages that were asked are no list of turns.", raw.place)
    said = turns([*raw.messages, raw.answer], found)
    offered = tools(raw.tools, found)
    for one in found.problems:
        if one.severity == "error":
            field = f" ({one.field.split(' (')[0]})" if one.field else ""  # what follows is theirs
            return Unusable(f"{CODES[one.code][1]}{field}.", raw.place)
    prompt, answer = said[:-1], said[-1]
    if answer.role != "assistant":
        return Unusable("the answer is no turn of an assistant.", raw.place)
    if not any(message.role == "user" for message in prompt):
        return Unusable("no turn of a user is among the messages.", raw.place)
    made = ImportedTrace(
        id=text(raw.id) or "",
        messages=tuple(replace(message, trained=True) for message in prompt),
        answer=replace(answer, trained=True),
        tools=offered,
        model=text(raw.model),
        provider=text(raw.provider),
        prompt_tokens=count(raw.prompt_tokens),
        completion_tokens=count(raw.completion_tokens),
        cached_tokens=count(raw.cached_tokens),
        usd=number(raw.usd),
        seconds=number(raw.seconds),
        at=raw.at,
        thumb=raw.thumb,
        corrected=text(_record(raw.corrected)),
        cut=isinstance(raw.finish, str) and raw.finish in _CUT,
    )
    try:
        spelled = json.dumps(made.to_dict(), ensure_ascii=False, allow_nan=False)
    except ValueError:  # 1e999, which Python reads
        return Unusable("a definition of a tool has a number that is too large.", raw.place)
    if json_reader.is_too_deep(spelled):  # a text was read at a depth of its own
        return Unusable(f"it is nested more than {json_reader.MOST_DEPTH} deep.", raw.place)
    if len(spelled.encode(errors="replace")) > MOST_BYTES:
        return Unusable(TOO_LONG, raw.place)
    return made


def finish_of(completion: Any) -> Any:
    """Why a completion ended, as its first choice tells."""
    choices = listing(mapping(completion).get("choices"))
    return mapping(choices[0]).get("finish_reason") if choices else None


def text(value: Any) -> str | None:
    """A text that is not blank, else None."""
    return value if isinstance(value, str) and value.strip() else None


def count(value: Any) -> int | None:
    """A number of things, also one that JSON spells as text (OTLP does), else None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < 2**64 else None
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def number(value: Any) -> float | None:
    """A number of at least 0, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found >= 0 else None


def time(value: Any) -> datetime | None:
    """A moment: ISO 8601, or seconds since 1970."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        seconds = number(value)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def iso(moment: datetime | None) -> str | None:
    """A moment as a trace keeps it."""
    return None if moment is None else moment.isoformat()


def between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds from one to the other."""
    return None if start is None or end is None else number((end - start).total_seconds())


def loaded(value: Any) -> Any:
    """What a JSON text spells; a text that is no JSON, and every other value, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json_reader.read(value)
    except ValueError:
        return value


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listing(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def asked(value: Any) -> Any:
    """Turns: a list as it is, a text as the turn of a user."""
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


def answered(value: Any) -> Any:
    """The assistant's turn of an answer in one of the forms that programs keep: a text, a turn, a
    list of one, a completion with its choices; a record is its own JSON text."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return {"role": "assistant", "content": value}
    if not isinstance(value, dict):
        return value
    choices = value.get("choices")
    if isinstance(choices, list) and choices:
        first = mapping(choices[0])
        value = first.get("message", first.get("text"))
        return answered(value) if isinstance(value, str) else _turn(value)
    if "role" in value or "content" in value or "tool_calls" in value:
        return _turn(value)
    return {"role": "assistant", "content": _record(value)}


def _record(value: Any) -> Any:
    """The JSON text of a record, None where it has a number that is too large; else the value."""
    if not isinstance(value, dict | list):
        return value
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return None
    return canonical_json(value)


def _turn(value: Any) -> Any:
    """A turn as OpenAI writes it, without what is null in it."""
    if not isinstance(value, dict):
        return value
    known = {name: one for name, one in value.items() if one is not None}
    refusal = known.pop("refusal", None)
    if isinstance(refusal, str) and "content" not in known:
        known["content"] = refusal
    return {"role": "assistant", **known}
