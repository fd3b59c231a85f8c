"""One model of a provider: single requests, and what is learned from their replies.

Nothing is known of the other side for sure: a count it does not give is None, never 0. `batch` and
`stream` decide what is tried again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from time import monotonic
from typing import Any

from assay.config import REMOTE, Provider
from assay.data.privacy import mask
from assay.errors import ConfigError
from assay.example import Message
from assay.generate.batch import AnswerToken
from assay.generate.remote import anthropic, openai
from assay.generate.remote.connection import Connection, Reply, WireError
from assay.generate.remote.outbound import ProviderClient, read_key
from assay.generate.remote.redaction import redact
from assay.generate.remote.turns import complete_calls
from assay.generate.remote.wire import (
    Completion,
    CompletionRequest,
    NoAnswerError,
    RefusedParameter,
    Wire,
    error_text,
    events,
    no_answer_from,
    read_json,
    refusal,
    replace_surrogates,
)
from assay.generate.stream import End, Piece, Sampling, add_confidence
from assay.log_lines import printable

LONGEST_PAUSE_S = 60.0
"""A provider that asks to be left alone for longer has no answer for now."""
REFUSAL_LASTS_S = 600.0
MOST_REFUSALS = 100
"""Refused parameters that are remembered; the oldest goes first."""
_WIRES: dict[str, Wire] = {"openai": openai, "anthropic": anthropic}
_READ, _SHOWN = 4000, 200  # characters of a reason


class RefusedParameters:
    """What is remembered of the parameters that an endpoint has refused. Safe for many threads.

    A refusal counts once a request without the parameter was answered, and for a limited time: an
    endpoint that errs, or is changed, is sent the parameter again.
    """

    def __init__(self) -> None:
        self._until: dict[RefusedParameter, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._until)

    def remember(self, confirmed: Collection[RefusedParameter]) -> None:
        """Leave these out from now on; the request without them was answered."""
        with self._lock:
            for one in confirmed:
                self._until.pop(one, None)
                self._until[one] = monotonic() + REFUSAL_LASTS_S
                if len(self._until) > MOST_REFUSALS:
                    del self._until[next(iter(self._until))]

    def names_in(self, body: Mapping[str, Any]) -> frozenset[str]:
        """Names of a request's parameters that the endpoint is known to refuse."""
        if not self._until:
            return frozenset()
        now = monotonic()
        with self._lock:
            known = [one for one, until in self._until.items() if until > now]
        return frozenset(
            one.name
            for one in known
            if one.name in body and one.value in (None, json.dumps(body[one.name]))
        )


class RemoteModel:
    """One model of a provider: single attempts, and what is learned from them."""

    def __init__(
        self,
        name: str,
        model: str,
        provider: Provider,
        *,
        key: Callable[[], str | None] | None = None,
        backoff_s: float = 1.0,
    ) -> None:
        self.name, self.model, self.provider, self.backoff_s = name, model, provider, backoff_s
        self._key = key or (lambda: read_key(name, provider))
        self._wire = _WIRES[provider.protocol]
        self._outbound = ProviderClient(name, provider)
        self._refused = RefusedParameters()
        self._not_before = 0.0

    @property
    def reference(self) -> str:
        """The name of the model: `remote:PROVIDER/MODEL`."""
        return f"{REMOTE}{self.name}/{self.model}"

    def close(self) -> None:
        """Close the connections to the provider."""
        self._outbound.close()

    def request(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> CompletionRequest:
        """What this model is asked."""
        limit, left_out = self.provider.limit_name, frozenset(self.provider.leave_out)
        told = complete_calls(messages)
        return CompletionRequest(self.model, told, tools, sampling, limit, left_out)

    def send(
        self,
        request: CompletionRequest,
        key: str | None,
        *,
        stream: bool,
        on_connection: Callable[[Connection | None], None] = lambda connection: None,
    ) -> Reply:
        """One reply of status 200; a parameter that the endpoint refuses is left out.

        Of later requests, too, for a while, once the request without it was answered.

        Args:
            on_connection: see `ProviderClient.send`.

        Raises:
            NoAnswerError: there is none.
        """
        left_out: list[RefusedParameter] = []
        while True:
            request, body = self._accepted(request, stream=stream)
            try:
                reply = self._outbound.send(
                    self._wire.PATH,
                    json.dumps(body, separators=(",", ":")).encode(),
                    self._headers(key),
                    within_s=self.provider.timeout_s,
                    on_connection=on_connection,
                )
                if reply.status == 200:
                    self._refused.remember([one for one in left_out if one.is_lasting])
                    return reply
                raw = reply.read()
            except WireError as error:
                raise no_answer_from(error) from None
            refused: RefusedParameter | None = None
            if reply.status in (400, 422):
                refused = self._wire.refused_parameter(raw, body)
            if refused is None or refused.name in request.refused:
                headers = {"retry-after": reply.header("retry-after")}
                raise refusal(reply.status, headers, error_text(raw))
            request = replace(request, refused=request.refused | {refused.name})
            left_out.append(refused)

    def complete(self, request: CompletionRequest, key: str | None) -> Completion:
        """One whole answer; raises NoAnswerError where there is none."""
        reply = self.send(request, key, stream=False)
        try:
            raw = reply.read()
        except WireError as error:
            raise no_answer_from(error) from None
        finally:
            reply.close()
        answer: Completion = self._wire.parse_completion(
            read_json(raw, reply.header("content-type")), request.sampling
        )
        return answer

    def body(self, request: CompletionRequest) -> dict[str, Any]:
        """What is sent for a whole answer, without parameters that are known to be refused."""
        return self._accepted(request, stream=False)[1]

    def parse(self, tree: dict[str, Any], sampling: Sampling) -> Completion:
        """The answer of a body that came another way; raises NoAnswerError."""
        answer: Completion = self._wire.parse_completion(tree, sampling)
        return answer

    def exchange(
        self,
        path: str,
        body: bytes | None,
        key: str | None,
        headers: Mapping[str, str],
        within_s: float | None = None,
    ) -> Reply:
        """A reply of any status to a request for something else than an answer (GET without body).

        Raises:
            NoAnswerError: there is none.
        """
        sent = {**self._headers(key), **headers}
        try:
            return self._outbound.send(
                path, body, sent, within_s=within_s or self.provider.timeout_s
            )
        except WireError as error:
            raise no_answer_from(error) from None

    def read_stream(self, reply: Reply, request: CompletionRequest) -> Iterator[Piece | End]:
        """Read a streamed reply; raises NoAnswerError."""
        kind, provider = reply.header("content-type"), self.provider
        try:
            if kind.partition(";")[0].strip() != "text/event-stream":
                # Endpoints that cannot stream answer whole.
                answer = self._wire.parse_completion(
                    read_json(reply.read(), kind), request.sampling
                )
                yield from self.items(answer)
                return
            items = self._wire.parse_stream(events(reply, provider.stall_s, provider.stream_s))
            for item in add_confidence(items, request.sampling):
                yield replace(item, model=self.reference) if isinstance(item, End) else item
        except WireError as error:
            raise no_answer_from(error) from None
        reply.drain()

    def items(self, answer: Completion) -> Iterator[Piece | End]:
        """A whole answer in the words of a stream."""
        if answer.text:
            yield Piece(answer.text)
        yield replace(_end_of(answer), model=self.reference)

    def retry_pause(self, failure: NoAnswerError, attempt: int) -> float | None:
        """Seconds until the next attempt; None where the provider asks for too many.

        Args:
            attempt: how many there have been.
        """
        pause: float = self.backoff_s * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)
        if failure.pause is None:
            return pause
        if failure.pause > LONGEST_PAUSE_S:
            return None
        self._not_before = max(self._not_before, monotonic() + failure.pause)
        return failure.pause + pause * 0.1

    def pause_left_s(self) -> float:
        """How long the provider has asked to be left alone still."""
        return max(0.0, self._not_before - monotonic())

    def key(self) -> str | None:
        """Read now; raises ConfigError or SecretError."""
        return self._key()

    def describe_failure(self, reason: str, key: str | None) -> str:
        """One line, fit to be shown: without the key, whoever repeats it, and other secrets."""
        line = redact(" ".join(reason.split())[:_READ], (key, *self._outbound.secrets))
        return f"{self.name}: {printable(replace_surrogates(mask(line)[:_SHOWN]))}"

    def _accepted(
        self, request: CompletionRequest, *, stream: bool
    ) -> tuple[CompletionRequest, dict[str, Any]]:
        """The request without parameters that are known to be refused, and its body."""
        body: dict[str, Any] = self._wire.request_body(request, stream=stream)
        if known := self._refused.names_in(body) - request.refused:
            request = replace(request, refused=request.refused | known)
            body = self._wire.request_body(request, stream=stream)
        return request, body

    def _headers(self, key: str | None) -> dict[str, str]:
        headers: dict[str, str] = dict(self._wire.HEADERS)
        if key is not None:
            own = self.provider.key_header
            headers |= {own: key} if own else self._wire.key_headers(key)
        return headers


def _end_of(answer: Completion) -> End:
    """The end of a stream that came as a whole."""
    usage, tokens = answer.usage, answer.tokens
    counts = usage.prompt, usage.completion, usage.cached, usage.reasoning
    end = End(answer.finish, *counts, answer.calls)
    if tokens is None:
        return end
    return replace(end, logprob=sum_logprobs(tokens), scored_tokens=len(tokens))


def sum_logprobs(tokens: Sequence[AnswerToken]) -> float:
    return sum(token.logprob for token in tokens)


def check_unconstrained(model: str, held: bool) -> None:
    """Raises ConfigError where an answer must be held to a closed list."""
    if held:
        raise ConfigError(
            "a model at a provider cannot be held to a closed list of answers.",
            where=model,
            fix="Set generate.constrained: off for it.",
        )
