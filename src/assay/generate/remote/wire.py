"""What the protocols of providers share: what is asked, what was said, and why there is no answer.

A protocol is a module with these functions: `openai`, `anthropic`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, Protocol

from assay import json_reader
from assay.example import Message, ToolCall
from assay.generate.batch import AnswerToken
from assay.generate.remote.connection import OversizeError, Reply, WireError
from assay.generate.stream import End, Piece, Sampling

_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_PERMANENT = frozenset({401, 403, 404})
_REFUSED = frozenset({400, 413, 422})
_OF_THE_ACCOUNT = re.compile(
    r"\b(api.?key|credit|billing|quota|balance|payment|subscription|permission|organi[sz]ation|"
    r"deactivated|deployment|(unknown|no such|invalid) model|"
    r"model\b.{0,80}\b(not (found|exist|available)|no longer))\b",
    re.IGNORECASE,
)
"""Said of who asks or of the model, by providers that have no other status for it than 400."""


class NoAnswerError(Exception):
    """An attempt without an answer.

    Attributes:
        reason: what the other side said; to be cleaned before it is shown.
        is_retryable: another attempt may help.
        pause: seconds that the provider asks for.
        is_permanent: no request can succeed (a wrong key).
        charged: it may have cost something.
        busy: the provider has too much to do.
        refused: it takes no such request, whoever sends it and whenever: too long, or held back.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_retryable: bool,
        pause: float | None = None,
        is_permanent: bool = False,
        charged: bool = True,
        busy: bool = False,
        refused: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.is_retryable, self.pause = reason, is_retryable, pause
        self.is_permanent, self.charged, self.busy, self.refused = (
            is_permanent,
            charged,
            busy,
            refused,
        )


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A conversation to be continued by a provider's model.

    Attributes:
        limit: what the endpoint calls the most tokens of an answer, in OpenAI's protocol.
        refused: names of parameters that this endpoint does not know.
    """

    model: str
    messages: Sequence[Message]
    tools: Sequence[dict[str, Any]]
    sampling: Sampling
    limit: str = "max_tokens"
    refused: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RefusedParameter:
    """A parameter that an endpoint does not take, and that can be done without.

    Attributes:
        value: the one that it does not take, as JSON; None: it takes none.
        is_lasting: whether it may be remembered for other requests.
    """

    name: str
    value: str | None = None
    is_lasting: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens; None where the provider does not tell."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer of a provider's model."""

    text: str
    finish: Literal["stop", "length"]
    usage: Usage
    calls: tuple[ToolCall, ...] = ()
    tokens: tuple[AnswerToken, ...] | None = field(default=None, repr=False)


class Wire(Protocol):
    """How a provider is spoken to."""

    PATH: str
    HEADERS: dict[str, str]
    """Of every request, beside the key's."""

    def key_headers(self, key: str) -> dict[str, str]:
        """The headers that a key goes into."""

    def request_body(self, request: CompletionRequest, *, stream: bool) -> dict[str, Any]:
        """The request's JSON.

        Raises:
            UsageError: the protocol has no word for something that is asked.
        """

    def refused_parameter(self, raw: bytes, sent: Mapping[str, Any]) -> RefusedParameter | None:
        """The parameter that an error reply names as refused; None: it names none.

        By fields of the error, never by its words: these repeat what a request has brought, such as
        the name of a tool.
        """

    def parse_completion(self, tree: dict[str, Any], sampling: Sampling) -> Completion:
        """Read a reply; raises NoAnswerError where it is none."""

    def parse_stream(self, events: Iterable[dict[str, Any]]) -> Iterator[Piece | End]:
        """Read the events of a stream; raises NoAnswerError where it ends before the answer."""


def count(tree: Any, *names: str) -> int | None:
    """A number of tokens out of a reply, None where there is none that can be believed."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    good = isinstance(tree, int) and not isinstance(tree, bool) and 0 <= tree < 2**31
    return tree if good else None


def replace_surrogates(text: str) -> str:
    """The text with `?` for half characters (lone surrogates), which JSON can spell."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def events(reply: Reply, stall_s: float, whole_s: float) -> Iterator[dict[str, Any]]:
    """The JSON of every `data:` line of a stream, `[DONE]` and pings left out.

    Until the first event the request's own time is limited, from then on the silence between two of
    them; comments and pings, with which a proxy keeps the line open, break no silence.

    Args:
        stall_s: the longest silence.
        whole_s: the longest time of all of it.

    Raises:
        NoAnswerError: an event is no JSON object or tells of an error, or nothing comes.
    """
    rest, heard, began = b"", math.inf, time.monotonic()
    for part in reply.chunks():
        now = time.monotonic()
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            if data and (tree := _event(data)).get("type") != "ping":
                if heard == math.inf:
                    reply.limit_silence(stall_s)
                heard = now
                yield tree
        if now - heard > stall_s:
            raise NoAnswerError(f"silent for {stall_s:g} s", is_retryable=True)
        if now - began > whole_s:
            raise NoAnswerError(f"no end within {whole_s:g} s", is_retryable=True)
    if rest.startswith(b"data:") and (data := rest[5:].strip()) not in (b"", b"[DONE]"):
        yield _event(data)


def _event(data: bytes) -> dict[str, Any]:
    try:
        tree = json_reader.read(data)
    except ValueError:
        raise NoAnswerError(
            "an event of the stream is cut or not JSON", is_retryable=True
        ) from None
    if not isinstance(tree, dict):
        raise NoAnswerError("an event of the stream is not a JSON object", is_retryable=True)
    if tree.get("error"):
        raise _error_in(tree, data)
    return tree


def read_json(raw: bytes, kind: str) -> dict[str, Any]:
    """A reply's JSON object.

    Args:
        kind: its content type.

    Raises:
        NoAnswerError: it is none.
    """
    kind = kind.partition(";")[0].strip() or "nothing named"
    try:
        tree = json_reader.read(raw)
    except ValueError:
        if kind in ("application/json", "nothing named"):
            raise NoAnswerError("the answer is cut or not JSON", is_retryable=True) from None
        raise NoAnswerError(
            f"answers with {kind}, not JSON; check base_url", is_retryable=False
        ) from None
    if not isinstance(tree, dict):
        raise NoAnswerError("the answer is not a JSON object", is_retryable=True)
    if tree.get("error") and not tree.get("choices"):  # some gateways say 200 all the same
        raise _error_in(tree, raw)
    return tree


def _error_in(tree: dict[str, Any], raw: bytes) -> NoAnswerError:
    """An error under status 200, where some gateways put the status that it had into its code."""
    inner, text = tree["error"], error_text(raw) or "an error without a reason"
    status = inner.get("code") if isinstance(inner, dict) else None
    refused = (
        isinstance(status, int) and status in _REFUSED and _OF_THE_ACCOUNT.search(text) is None
    )
    return NoAnswerError(text, is_retryable=not refused, refused=refused)


def error_text(raw: bytes) -> str:
    """What an error reply says, in a protocol's form or as plain text; HTML says nothing."""
    text = _read(raw)
    try:
        tree = json_reader.read(text)
    except ValueError:
        return "" if text.startswith("<") else text
    if isinstance(tree, list) and tree:  # Gemini's endpoint wraps its errors
        tree = tree[0]
    inner = tree.get("error", tree) if isinstance(tree, dict) else tree
    if isinstance(inner, dict):
        parts = [inner.get("message") or inner.get("detail"), inner.get("param")]
        return " ".join(str(part) for part in parts if part)
    return str(inner)


def error_fields(raw: bytes) -> dict[str, Any]:
    """What an error reply says in fields of its own, `param` and `code` among them.

    Endpoints that check requests with pydantic have these in `detail`, as place and type. Empty
    where there are none.
    """
    try:
        tree = json_reader.read(_read(raw))
        if "detail" not in tree:
            return dict(tree["error"])
        [problem] = tree["detail"]
        where, param = problem["loc"]
        return {"param": param, "code": problem["type"]} if where == "body" else {}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}


def _read(raw: bytes) -> str:
    return raw[:20_000].decode("utf-8", "replace").strip()


def refusal(status: int, headers: Mapping[str, str], text: str) -> NoAnswerError:
    """What a status other than 200 means."""
    if status in (401, 403):  # what these say may repeat the key in part
        return NoAnswerError(
            f"HTTP {status}: the key is refused",
            is_retryable=False,
            is_permanent=True,
            charged=False,
        )
    if 300 <= status < 400:
        return NoAnswerError(
            f"HTTP {status}: it redirects, and redirects are not followed; check base_url",
            is_retryable=False,
            charged=False,
        )
    return NoAnswerError(
        f"HTTP {status}" + (f": {text}" if text else ""),
        is_retryable=status in _RETRYABLE,
        pause=_retry_after(headers.get("retry-after", "")) if status in _RETRYABLE else None,
        is_permanent=status in _PERMANENT,
        charged=False,
        busy=status == 429,
        refused=status in _REFUSED and _OF_THE_ACCOUNT.search(text) is None,
    )


def no_answer_from(error: WireError) -> NoAnswerError:
    """A request without a whole reply may be tried again, unless the reply was too large."""
    again = not isinstance(error, OversizeError)
    return NoAnswerError(error.reason, is_retryable=again, charged=error.reached)


def _retry_after(raw: str) -> float | None:
    """Seconds, from a number or a date; None where there is none that can be read."""
    raw = raw.strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", raw):
        return float(raw)
    try:
        date = parsedate_to_datetime(raw)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
