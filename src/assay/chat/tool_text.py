"""Tool calls as models write them.

A model says that it wants a function called by writing text. Which text depends on what it was
trained on: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` (Hermes, Qwen), a bare JSON
object with `parameters` (Llama 3), a JSON list or `name[ARGS]{...}` (Mistral; `name{...}` where its
marks are control tokens, which no text has). `find_calls` reads them all; what names no tool that
was offered is no call.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from assay import json_reader, patterns
from assay.example import CALL_CLOSE, CALL_OPEN, ToolCall

PYTHON_TAG = "<|python_tag|>"
"""What Llama 3 may write before a bare call, which its template does not."""
_BARE = ("{", "[", PYTHON_TAG)
_SCHEMA_S = 0.25
"""Longest that clients' schemas may take on all calls of an answer, their patterns and all."""
_LONGEST_CHECKED = 256 * 1024
"""Characters of an answer whose calls are held against a schema."""
_LONGEST_LEAD = 1000
"""Characters of white space before a bare call."""
ARGS = "[ARGS]"
"""Between a call's name and its arguments; see above."""
_GAP = re.compile(r"\s*(?:\[TOOL_CALLS\]\s*)?")
_PREFIX = re.compile(rf"\A\s*(?:\[TOOL_CALLS\]|{re.escape(PYTHON_TAG)})\s*")


def name_of(tool: dict[str, Any]) -> str:
    """The function's name in an OpenAI tool definition."""
    name: str = tool["function"]["name"]
    return name


def find_calls(text: str, tools: Sequence[dict[str, Any]]) -> tuple[str, tuple[ToolCall, ...]]:
    """The calls that an answer makes, and what it says beside them.

    A call of a tool that is `strict` counts only if its arguments follow the tool's schema, and
    that is known within a time that all calls of the answer share. This may take that time: it
    belongs into a thread.
    """
    too_long = len(text) > _LONGEST_CHECKED
    _deadline.set(0.0 if too_long else time.monotonic() + _SCHEMA_S)
    offered = {name_of(tool): tool["function"] for tool in tools}
    if calls := _calls(_PREFIX.sub("", text), offered):  # first: a value may hold a mark
        return "", tuple(calls)
    said, found, place = [], [], 0
    while (start := text.find(CALL_OPEN, place)) >= 0:
        said.append(text[place:start])
        calls, place = _block(text, start + len(CALL_OPEN), offered)
        if not calls:
            return text, ()
        found += calls
    if not found:
        return text, ()
    return "".join((*said, text[place:])).strip(), tuple(found)


def _block(text: str, start: int, offered: dict[str, dict[str, Any]]) -> tuple[list[ToolCall], int]:
    """The calls behind an opening mark, and where what follows their closing mark begins."""
    end = _closing(text, start)
    calls = _calls(text[start:end].strip(), offered)
    if not calls:  # an argument may hold the mark
        with suppress(ValueError):
            end = _closing(text, json_reader.read_at(text, _past_gap(text, start))[1])
            calls = _calls(text[start:end].strip(), offered)
    return calls, end + len(CALL_CLOSE)


def _closing(text: str, place: int) -> int:
    """Where the next closing mark stands; the text's end where there is none."""
    found = text.find(CALL_CLOSE, place)
    return found if found >= 0 else len(text)


def _calls(text: str, offered: dict[str, dict[str, Any]]) -> list[ToolCall]:
    """The calls of one piece of JSON, or of names with arguments; none if anything in it is no
    call."""
    try:
        raw = json_reader.read(text)
    except ValueError:
        raw = _named(text, offered)
    calls = []
    for item in raw if isinstance(raw, list) else [raw]:
        call = _call(item, offered)
        if call is None:
            return []
        calls.append(call)
    return calls


def _named(text: str, offered: Container[str]) -> list[dict[str, Any]]:
    """Names that are each followed by a value, as calls; none if there is anything else."""
    calls: list[dict[str, Any]] = []
    place = _past_gap(text, 0)
    try:
        while place < len(text):
            start = text.index("{", place)
            name = text[place:start].removesuffix(ARGS)
            if name not in offered:
                return []
            arguments, end = json_reader.read_at(text, start)
            calls.append({"name": name, "arguments": arguments})
            place = _past_gap(text, end)
    except ValueError:
        return []
    return calls


def _past_gap(text: str, place: int) -> int:
    found = _GAP.match(text, place)
    return found.end() if found else place


def _call(item: Any, offered: dict[str, dict[str, Any]]) -> ToolCall | None:
    if not isinstance(item, dict) or not isinstance(name := item.get("name"), str):
        return None
    if name not in offered:
        return None
    arguments = item.get("arguments", item.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json_reader.read(arguments)
        except ValueError:
            return None
    function = offered[name]
    if not isinstance(arguments, dict) or not _follows(arguments, function):
        return None
    try:
        spelled = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        spelled.encode()
    except ValueError:  # an infinite number, half a character: no JSON that could be sent
        return None
    return ToolCall(f"call_{secrets.token_hex(12)}", name, spelled)


def _follows(arguments: dict[str, Any], function: dict[str, Any]) -> bool:
    if not function.get("strict"):
        return True
    if time.monotonic() > _deadline.get():
        return False
    try:
        schema = _bounded(function.get("parameters") or {})
        # An empty registry: a reference to another machine is not followed.
        return bool(_Validator(schema, registry=Registry()).is_valid(arguments))
    except Exception:  # too slow, or no schema at all, which shows in ways without number
        return False


def _bounded(schema: Any) -> Any:
    """A schema without what would get round the clock: patterns of names, another draft's rules."""
    if isinstance(schema, list):
        return [_bounded(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    left_out = {"$schema"}
    if "patternProperties" in schema:
        left_out |= {"patternProperties", "additionalProperties", "unevaluatedProperties"}
    return {name: _bounded(part) for name, part in schema.items() if name not in left_out}


def _timed(follows: Callable[..., Iterator[ValidationError] | None]) -> Callable[..., Any]:
    """A keyword that looks at the clock: references that branch take exponential time."""

    def check(*given: Any) -> Iterator[ValidationError] | None:
        if time.monotonic() > _deadline.get():
            raise TimeoutError
        return follows(*given)

    return check


def _pattern(_: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    left = max(0.001, _deadline.get() - time.monotonic())
    if isinstance(value, str) and not patterns.compile_pattern(pattern).search(value, timeout=left):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _unique(_: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """In linear time, where the library's own compares each with each."""
    if wanted is True and isinstance(value, list):
        whole = (int(v) if isinstance(v, float) and v.is_integer() else v for v in value)
        if len({json.dumps(v, sort_keys=True) for v in whole}) < len(value):
            yield ValidationError(f"{value!r} repeats itself")


_deadline: ContextVar[float] = ContextVar("deadline")
_KEYWORDS = {**Draft202012Validator.VALIDATORS, "pattern": _pattern, "uniqueItems": _unique}
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _timed(follows) for name, follows in _KEYWORDS.items()}
)


def call_schema(
    tools: Sequence[dict[str, Any]], arguments_key: str = "arguments", *, has_id: bool = False
) -> dict[str, Any]:
    """JSON Schema of exactly one call of one of the tools, for constrained decoding.

    Args:
        has_id: a call ends with an `id` as Mistral's templates want them.
    """
    last = {"id": {"type": "string", "pattern": "^[a-zA-Z0-9]{9}$"}} if has_id else {}
    shapes: list[dict[str, Any]] = []
    moved: dict[str, Any] = {}
    for number, tool in enumerate(tools):
        arguments = tool["function"].get("parameters") or {"type": "object"}
        place = f"#/$defs/{number}"
        if (whole := _refer(arguments, place)) != arguments:
            moved[str(number)], arguments = whole, {"$ref": place}
        shapes.append(
            {
                "type": "object",
                "properties": {"name": {"const": name_of(tool)}, arguments_key: arguments, **last},
                "required": ["name", arguments_key, *last],
                "additionalProperties": False,
            }
        )
    schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
    return {**schema, "$defs": moved} if moved else schema


_BY_NAME = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
)
"""Keywords whose value has a schema under each name, whatever the name."""
_VALUES = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose value is no schema."""


def _refer(schema: Any, place: str) -> Any:
    """A schema that stands at another place: its references to itself lead there."""
    if isinstance(schema, list):
        return [_refer(part, place) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str) and value.startswith("#"):
            found[key] = f"{place}{value[1:]}"
        elif key in _BY_NAME and isinstance(value, dict):
            found[key] = {name: _refer(part, place) for name, part in value.items()}
        else:
            found[key] = value if key in _VALUES else _refer(value, place)
    return found


class Reader:
    """Passes an answer's text on as it comes, but holds back what may turn out to be a call.

    Args:
        tools: that were offered.
    """

    def __init__(self, tools: Sequence[dict[str, Any]]) -> None:
        self._tools = tools
        names = [name_of(tool) for tool in tools]
        self._bare = (*_BARE, *(f"{name}{mark}{{" for name in names for mark in ("", ARGS)))
        self._held = ""
        self._said = False
        self._calling = False
        self._call: list[str] = []

    def feed(self, text: str) -> str:
        """What of the text so far may be shown now."""
        if self._calling:
            self._call.append(text)
            return ""
        self._held += text
        if not self._said and len(self._held) - len(start := self._held.lstrip()) < _LONGEST_LEAD:
            if not start or any(mark.startswith(start) for mark in self._bare):
                return ""
            if start.startswith(self._bare):
                self._calling = True
                return ""
        place = self._held.find(CALL_OPEN)
        if place >= 0:
            self._calling = True
        else:
            place = len(self._held) - _overlap(self._held)
        shown, self._held = self._held[:place], self._held[place:]
        self._said = self._said or bool(shown)
        return shown

    def end(self) -> tuple[str, tuple[ToolCall, ...]]:
        """What is left to be shown, and the calls; see `find_calls`."""
        held = "".join((self._held, *self._call))
        if not held.strip() or not (self._calling or not self._said):
            return held, ()
        return find_calls(held, self._tools)


def _overlap(text: str) -> int:
    """Length of the longest end of the text that begins the opening mark."""
    return next((n for n in range(len(CALL_OPEN) - 1, 0, -1) if text.endswith(CALL_OPEN[:n])), 0)
