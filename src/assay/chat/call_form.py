"""How a model's own template writes the calls of an answer, found by trying it out.

A form is known where `assay.chat.tool_text` reads back what the template writes: the marks of
Hermes and Qwen around each call, the bare object of Llama 3, the list of Mistral, or others like
them. Control tokens are not in an answer's text (`[TOOL_CALLS]`, `<|python_tag|>`), so that they
are left out before it is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from assay.chat.message_writer import NONCE
from assay.chat.tool_text import PYTHON_TAG, find_calls
from assay.errors import DataError, ModelError
from assay.example import CALL_OPEN, Message, ToolCall

Write = Callable[[Message, Sequence[dict[str, Any]]], str]
"""An assistant's turn as the template writes it, after its prompt."""
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_IDS = ("call00000", "call00001")
_CALL = re.compile(r'\{"name": "f", "(arguments|parameters)": \{"a": 1\}(, "id": "call0000\d")?\}')
"""A call as JSON; the keys in this order, as the model has learned to write them."""
_NAMED = re.compile(r'f(\[\w+\])\{"a": 1\}')
"""A call as newer Mistral models write it: the arguments behind the name."""
_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CallForm:
    """How a template writes an answer that calls functions: `lead`, `open`, a call, as often as
    there is another one `between` and that one, `close`.

    Attributes:
        lead: what may stand before, such as an empty thought.
        between: one call and the next; None: an answer calls one function.
        arguments: the name of the arguments in a call, "arguments" or "parameters".
        has_id: a call ends with an `id` of nine letters and digits.
        named: between the name and the arguments of a call; None: a call is JSON with both.
        tokens: marks, each with its id, that are one token, which is no text to a grammar.
        silent: which of these are not in an answer's text.
        thinks: `<think>` and `</think>` are such tokens, too.
        tag: a control token that may stand before a bare call; None: there is none.
    """

    lead: str
    open: str
    close: str
    between: str | None
    arguments: str = "arguments"
    has_id: bool = False
    named: str | None = None
    tokens: tuple[tuple[str, int], ...] = ()
    silent: frozenset[str] = frozenset()
    thinks: bool = False
    tag: str | None = None


def find_call_form(tokenizer: Any, write: Write, stop_ids: Iterable[int]) -> CallForm | None:
    """The form of a template; None: what it writes is not read as the calls that it writes.

    Args:
        tokenizer: whose tokens the template may name.
        stop_ids: those that end an answer, which are no part of the form.
    """
    stops = tokenizer.convert_ids_to_tokens(list(stop_ids))
    for ids in (_IDS, _IDS[:1]):  # Llama's template refuses two
        calls = tuple(ToolCall(id, "f", '{"a": 1}') for id in ids)
        try:
            written = write(Message("assistant", "", calls), [_TOOL])
            before = min((written.partition(stop)[0] for stop in stops), key=len)
            if before == written:  # a text stands there in place of a token, as behind words
                end = write(Message("assistant", NONCE), [_TOOL]).partition(NONCE)[2]
                before = written.removesuffix(end)
        except (DataError, ModelError):
            continue
        form = _form(before, len(ids), tokenizer)
        if form is not None:
            return form
    return None


def _form(written: str, count: int, tokenizer: Any) -> CallForm | None:
    """The form of so many calls, if they are read as these."""
    found = list(_CALL.finditer(written)) or list(_NAMED.finditer(written))
    if len(found) != count:
        return None
    first, *others = found
    is_named = first.re is _NAMED
    before = written[: first.start()]
    place = before.find(CALL_OPEN)
    if place < 0:
        place = len(thought[0]) if (thought := _THOUGHT.match(before)) else 0
    lead, opening, closing = before[:place], before[place:], written[found[-1].end() :]
    between = written[first.end() : others[0].start()] if others else None
    added = {one.content: (id, one) for id, one in tokenizer.added_tokens_decoder.items()}
    special = frozenset(text for text, (_, one) in added.items() if one.special)
    read = written
    for text in special:
        read = read.replace(text, "")
    calls = find_calls(read, [_TOOL])[1]
    if [(call.name, call.arguments) for call in calls] != [("f", '{"a": 1}')] * count:
        return None
    marks = " ".join((opening, between or "", closing, first[1] if is_named else ""))
    tag = PYTHON_TAG if not opening and PYTHON_TAG in special else None
    tokens = [text for text in added if text.strip() and (text in marks or text == tag)]
    return CallForm(
        lead=lead,
        open=opening,
        close=closing,
        between=between,
        arguments="arguments" if is_named else first[1],
        has_id=not is_named and bool(first[2]),
        named=first[1] if is_named else None,
        tokens=tuple((text, added[text][0]) for text in tokens),
        silent=special.intersection(tokens),
        thinks="<think>" in added and "</think>" in added,
        tag=tag,
    )
