"""Answers from any endpoint that speaks OpenAI's chat completions.

    engine = RemoteEngine("openai", "gpt-4.1-mini", config.providers["openai"])

A model is named `remote:PROVIDER/MODEL`. Nothing is known of the other side for sure: a count it
does not give is None, never 0; an answer that is late, cut or no answer at all comes back with
finish `error` after bounded retries.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event, Lock
from typing import Any

import httpx

from assay.config import REMOTE, Provider
from assay.data.privacy import mask
from assay.errors import ConfigError
from assay.generate.engine import Answer, AnswerToken, Request
from assay.generate.outbound import GuardedTransport, read_key
from assay.progress import SILENT, Progress

MOST_BYTES = 16 * 2**20
"""Of one answer's body."""
LONGEST_PAUSE_S = 60.0
"""A provider that asks to be left alone for longer has no answer for now."""
MOST_LOGPROBS = 20
"""Most tokens that OpenAI's protocol tells beside the chosen one."""
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_HOPELESS = frozenset({401, 403, 404})
_SHOWN = 200
_ROUNDED = 1e-2  # a log-probability above 0 by less is rounding


def split_reference(model: str) -> tuple[str, str]:
    """Provider and model of `remote:PROVIDER/MODEL`.

    Raises:
        ConfigError: it is not of this form.
    """
    provider, _, name = model.removeprefix(REMOTE).partition("/")
    if not provider or not name:
        raise ConfigError(
            f"{model!r} names no model of a provider.", fix="Write remote:PROVIDER/MODEL."
        )
    return provider, name


class _NoAnswerError(Exception):
    """An attempt without an answer; `again` says whether another one may help."""

    def __init__(
        self, reason: str, *, again: bool, pause: float | None = None, hopeless: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.again, self.pause, self.hopeless = reason, again, pause, hopeless


@dataclass
class _Call:
    """What the requests of one call of `answer` share.

    Attributes:
        stop: set when nobody waits for the answers any more.
        hopeless: why no request can succeed (a wrong key), once that is known.
    """

    key: str | None
    stop: Event = field(default_factory=Event)
    hopeless: str | None = None


class RemoteEngine:
    """An engine over one model of a provider.

    Args:
        name: of the provider, for messages.
        model: as the provider calls it.
        backoff_s: pause before the second attempt; doubled for each further one, up to half of it
            left to chance.
    """

    def __init__(
        self, name: str, model: str, provider: Provider, *, backoff_s: float = 1.0
    ) -> None:
        self.name, self.model, self.provider, self.backoff_s = name, model, provider, backoff_s
        self._client = httpx.Client(
            transport=GuardedTransport(name, provider),
            timeout=provider.timeout_s,
            follow_redirects=False,
            trust_env=False,
            headers={"Accept-Encoding": "identity", "Accept": "application/json"},
        )
        self._lock = Lock()
        self._refused: set[str] = set()  # parameters that this endpoint does not know
        self._not_before = 0.0

    @property
    def identity(self) -> dict[str, str]:
        """All that is known of what can change an answer and is not in the request."""
        return {"engine": "remote", "base_url": self.provider.base_url, "model": self.model}

    def prompt_length(self, request: Request) -> int:
        """0: the provider counts."""
        return 0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """One answer for each request, in their order; `provider.concurrency` at a time.

        Once the provider has refused the key or the model, the rest is not sent.

        Raises:
            ConfigError: there is no key where the configuration says, the address is not allowed,
                or a request has a closed list of answers, which the protocol cannot enforce.
        """
        if any(request.choices is not None for request in requests):
            raise ConfigError(
                "a model at a provider cannot be held to a closed list of answers.",
                where=f"{REMOTE}{self.name}/{self.model}",
                fix="Set generate.constrained: off for it.",
            )
        call = _Call(read_key(self.name, self.provider))
        with (
            progress.task(f"asking {self.name}", len(requests), "answers") as task,
            ThreadPoolExecutor(self.provider.concurrency) as workers,
        ):
            running = [workers.submit(self._answer, request, call) for request in requests]
            try:
                answers = []
                for one in running:
                    answers.append(one.result())
                    task.advance()
            except BaseException:
                call.stop.set()
                workers.shutdown(wait=False, cancel_futures=True)
                raise
        return answers

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _answer(self, request: Request, call: _Call) -> Answer:
        attempt = 0
        while True:
            if call.hopeless is not None:
                return _failed(call.hopeless)
            if call.stop.wait(max(0.0, self._not_before - time.monotonic())):
                return _failed(f"{self.name}: stopped")
            try:
                return _read_answer(self._ask(request, call.key), request)
            except _NoAnswerError as failure:
                reason = f"{self.name}: {_clean(failure.reason, call.key)}"
                if failure.hopeless:
                    call.hopeless = reason
                attempt += 1
                if not failure.again or attempt > self.provider.retries:
                    return _failed(reason)
                pause = self.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
                if failure.pause is not None:
                    if failure.pause > LONGEST_PAUSE_S:
                        return _failed(f"{reason}; it asks for {failure.pause:.0f} s of silence")
                    self._not_before = max(self._not_before, time.monotonic() + failure.pause)
                    pause = failure.pause + pause * 0.1
                if call.stop.wait(pause):
                    return _failed(f"{self.name}: stopped")

    def _ask(self, request: Request, key: str | None) -> dict[str, Any]:
        """The reply's JSON; parameters that the endpoint refuses by name are left out from then on.

        `max_tokens` is then called `max_completion_tokens`, as newer models of OpenAI want it.
        """
        while True:
            with self._lock:
                refused = frozenset(self._refused)
            body = _body(self.model, request, refused)
            status, headers, raw = self._post(body, key)
            if status == 200:
                return _json(raw, headers)
            said = _said(raw)
            unknown = _unknown_parameter(said, body) if status in (400, 422) else None
            if unknown is None or unknown in refused:
                raise _refusal(status, headers, said)
            with self._lock:
                self._refused.add(unknown)

    def _post(self, body: dict[str, Any], key: str | None) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body of one reply, within time and size."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        limit = self.provider.timeout_s
        deadline = time.monotonic() + limit
        try:
            with self._client.stream(
                "POST", f"{self.provider.base_url}/chat/completions", json=body, headers=headers
            ) as reply:
                parts, size = [], 0
                for part in reply.iter_bytes():
                    size += len(part)
                    parts.append(part)
                    if size > MOST_BYTES:
                        raise _NoAnswerError("the answer is larger than 16 MiB", again=False)
                    if time.monotonic() > deadline:
                        raise _NoAnswerError(f"no whole answer within {limit:g} s", again=True)
                return reply.status_code, reply.headers, b"".join(parts)
        except httpx.TimeoutException:
            raise _NoAnswerError(f"no answer within {limit:g} s", again=True) from None
        except httpx.RemoteProtocolError:
            raise _NoAnswerError("the answer was cut", again=True) from None
        except httpx.HTTPError as error:
            raise _NoAnswerError(f"cannot be reached ({error})", again=True) from None


def _failed(reason: str) -> Answer:
    return Answer(text="", finish="error", error=reason)


def _clean(text: str, key: str | None) -> str:
    """One line, fit to be shown: without the key, whoever repeats it, and without other secrets."""
    if key is not None:
        text = text.replace(key, "<key>")
    return _whole(mask(" ".join(text.split()))[:_SHOWN])


def _whole(text: str) -> str:
    """The text with `?` for half characters (lone surrogates), which JSON can spell."""
    return text.encode(errors="replace").decode()


def _body(model: str, request: Request, refused: frozenset[str]) -> dict[str, Any]:
    messages = [message.to_dict() for message in request.messages]
    for message in messages:
        message.pop("weight", None)
    limit = "max_completion_tokens" if "max_tokens" in refused else "max_tokens"
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        limit: request.max_new_tokens,
        "temperature": request.temperature,
    }
    if request.temperature > 0 and "seed" not in refused:
        body["seed"] = request.seed
    if request.tools:
        body["tools"] = list(request.tools)
    if request.schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": request.schema},
        }
    if request.logprobs is not None and not refused & {"logprobs", "top_logprobs"}:
        body |= {"logprobs": True, "top_logprobs": min(request.logprobs, MOST_LOGPROBS)}
    return body


def _unknown_parameter(said: str, body: dict[str, Any]) -> str | None:
    """A parameter that the endpoint has refused and that can be done without."""
    if "max_tokens" in body and "max_completion_tokens" in said:
        return "max_tokens"
    for name in ("top_logprobs", "logprobs", "seed"):
        if name in body and re.search(rf"\b{name}\b", said):
            return name
    return None


def _refusal(status: int, headers: httpx.Headers, said: str) -> _NoAnswerError:
    if status in (401, 403):  # what these say may repeat the key in part
        return _NoAnswerError(f"HTTP {status}: the key is refused", again=False, hopeless=True)
    if 300 <= status < 400:
        return _NoAnswerError(
            f"HTTP {status}: sends elsewhere, which is never followed; check base_url", again=False
        )
    reason = f"HTTP {status}" + (f": {said}" if said else "")
    return _NoAnswerError(
        reason,
        again=status in _AGAIN,
        pause=_retry_after(headers) if status in _AGAIN else None,
        hopeless=status in _HOPELESS,
    )


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds, from a number or a date; None where there is none that can be read."""
    raw = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", raw):
        return float(raw)
    try:
        date = parsedate_to_datetime(raw)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _said(raw: bytes) -> str:
    """What an error reply says, in OpenAI's form or as plain text; pages of HTML say nothing."""
    text = raw[:20_000].decode("utf-8", "replace").strip()
    try:
        tree = json.loads(text)
    except ValueError:
        return "" if text.startswith("<") else text
    inner = tree.get("error", tree) if isinstance(tree, dict) else tree
    if isinstance(inner, dict):
        parts = [inner.get("message") or inner.get("detail"), inner.get("param")]
        return " ".join(str(part) for part in parts if part)
    return str(inner)


def _json(raw: bytes, headers: httpx.Headers) -> dict[str, Any]:
    kind = headers.get("content-type", "").partition(";")[0].strip() or "nothing named"
    try:
        tree = json.loads(raw)
    except (ValueError, RecursionError):
        if kind in ("application/json", "nothing named"):
            raise _NoAnswerError("the answer is cut or no JSON", again=True) from None
        raise _NoAnswerError(
            f"answers with {kind}, not JSON; check base_url", again=False
        ) from None
    if not isinstance(tree, dict):
        raise _NoAnswerError("the answer is no JSON object", again=True)
    if "error" in tree and not tree.get("choices"):  # some gateways say 200 all the same
        raise _NoAnswerError(_said(raw) or "an error without a reason", again=True)
    return tree


def _read_answer(tree: dict[str, Any], request: Request) -> Answer:
    """The first choice. Held back by a filter is an answer, too: what there is of it."""
    try:
        choice = tree["choices"][0]
        message = choice["message"]
        text, calls = _text(message.get("content")), message.get("tool_calls")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise _NoAnswerError("the answer has no message", again=True) from None
    if calls and not text:
        raise _NoAnswerError("answers with a tool call, which is no text", again=False)
    usage = tree.get("usage")
    tokens = None if request.logprobs is None else _tokens(choice.get("logprobs"), text)
    return Answer(
        text=text,
        finish="length" if choice.get("finish_reason") == "length" else "stop",
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        logprob=None if tokens is None else sum(token.logprob for token in tokens),
        tokens=tokens,
    )


def _text(content: Any) -> str:
    """A message's text; some endpoints send a list of parts."""
    if isinstance(content, list):
        parts = (str(part.get("text") or "") for part in content if isinstance(part, dict))
        return _whole("".join(parts))
    return _whole(content) if isinstance(content, str) else ""


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _tokens(logprobs: Any, text: str) -> tuple[AnswerToken, ...] | None:
    """The tokens with their log-probabilities; None unless they spell the text."""
    try:
        tokens = tuple(
            AnswerToken(
                _bytes(one).hex(),
                _logprob(one),
                tuple(
                    (_bytes(other).hex(), _logprob(other))
                    for other in one.get("top_logprobs") or ()
                ),
            )
            for one in logprobs["content"]
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    spelled = b"".join(bytes.fromhex(token.bytes) for token in tokens)
    return tokens if tokens and spelled == text.encode() else None


def _logprob(token: dict[str, Any]) -> float:
    """At most 0, whatever was rounded; raises ValueError where it is none at all."""
    value = float(token["logprob"])
    if not -math.inf < value < _ROUNDED:
        raise ValueError
    return min(value, 0.0)


def _bytes(token: dict[str, Any]) -> bytes:
    raw = token.get("bytes")
    return bytes(raw) if isinstance(raw, list) else str(token["token"]).encode()
