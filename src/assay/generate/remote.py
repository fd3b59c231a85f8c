"""Answers from a provider's model, whole, for a comparison; `remote_serving` has them in pieces.

    engine = RemoteEngine("openai", "gpt-4.1-mini", config.providers["openai"])

A model is named `remote:PROVIDER/MODEL`. Nothing is known of the other side for sure: a count it
does not give is None, never 0; an answer that is late, cut or no answer at all comes back with
finish `error` after bounded retries, a request that is too long or held back with `refused`; where
it is served, both are errors. A stream is begun again only while none of it was passed on.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from assay.config import REMOTE, Provider
from assay.data.privacy import mask
from assay.errors import ConfigError
from assay.example import Message
from assay.generate import anthropic_wire, openai_wire
from assay.generate.cleaned import cleaned
from assay.generate.connection import Connection, Reply, WireError
from assay.generate.engine import Answer, AnswerToken, Request
from assay.generate.outbound import Outbound, read_key
from assay.generate.refused_parameters import RefusedParameters
from assay.generate.serving import End, Piece, Sampling, scored
from assay.generate.wire import (
    Ask,
    NoAnswerError,
    RefusedParameter,
    Said,
    events,
    of_wire,
    read_json,
    refusal,
    said,
    whole_text,
)
from assay.log_lines import printable
from assay.progress import SILENT, Progress

LONGEST_PAUSE_S = 60.0
"""A provider that asks to be left alone for longer has no answer for now."""
_WIRES: dict[str, Any] = {"openai": openai_wire, "anthropic": anthropic_wire}
_READ, _SHOWN = 4000, 200  # characters of a reason
_DRAIN_S = 0.05  # what comes after an answer's end is not waited for


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


class Remote:
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
        self._outbound = Outbound(name, provider)
        self._refused = RefusedParameters()
        self._not_before = 0.0

    @property
    def reference(self) -> str:
        """`remote:PROVIDER/MODEL`."""
        return f"{REMOTE}{self.name}/{self.model}"

    def close(self) -> None:
        """Close the connections."""
        self._outbound.close()

    def ask(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Ask:
        """What this model is asked."""
        limit, left_out = self.provider.limit_name, frozenset(self.provider.leave_out)
        return Ask(self.model, messages, tools, sampling, limit, left_out)

    def send(
        self,
        ask: Ask,
        key: str | None,
        *,
        stream: bool,
        on_line: Callable[[Connection | None], None] = lambda line: None,
    ) -> Reply:
        """One reply of status 200; a parameter that the endpoint refuses is left out.

        Of later requests, too, for a while, once the request without it was answered.

        Args:
            on_line: see `Outbound.send`.

        Raises:
            NoAnswerError: there is none.
        """
        left_out: list[RefusedParameter] = []
        while True:
            body = self._wire.body(ask, stream=stream)
            if known := self._refused.among(body) - ask.refused:
                ask = replace(ask, refused=ask.refused | known)
                body = self._wire.body(ask, stream=stream)
            try:
                reply = self._outbound.send(
                    self._wire.PATH,
                    json.dumps(body, separators=(",", ":")).encode(),
                    self._headers(key),
                    within_s=self.provider.timeout_s,
                    on_line=on_line,
                )
                if reply.status == 200:
                    self._refused.remember([one for one in left_out if one.lasts])
                    return reply
                raw = reply.read()
            except WireError as error:
                raise of_wire(error) from None
            refused: RefusedParameter | None = None
            if reply.status in (400, 422):
                refused = self._wire.refused_parameter(raw, body)
            if refused is None or refused.name in ask.refused:
                headers = {"retry-after": reply.header("retry-after")}
                raise refusal(reply.status, headers, said(raw))
            ask = replace(ask, refused=ask.refused | {refused.name})
            left_out.append(refused)

    def whole(self, ask: Ask, key: str | None) -> Said:
        """One answer; raises NoAnswerError."""
        reply = self.send(ask, key, stream=False)
        try:
            raw = reply.read()
        except WireError as error:
            raise of_wire(error) from None
        finally:
            reply.close()
        answer: Said = self._wire.whole(read_json(raw, reply.header("content-type")), ask.sampling)
        return answer

    def pieces(self, reply: Reply, ask: Ask) -> Iterator[Piece | End]:
        """Read a streamed reply; raises NoAnswerError."""
        kind, provider = reply.header("content-type"), self.provider
        try:
            if kind.partition(";")[0].strip() != "text/event-stream":
                # Endpoints that cannot stream answer whole.
                answer = self._wire.whole(read_json(reply.read(), kind), ask.sampling)
                if answer.text:
                    yield Piece(answer.text)
                yield replace(_end_of(answer), model=self.reference)
                return
            told = self._wire.pieces(events(reply, provider.stall_s, provider.stream_s))
            for item in scored(told, ask.sampling):
                yield replace(item, model=self.reference) if isinstance(item, End) else item
        except WireError as error:
            raise of_wire(error) from None
        reply.stall_after(_DRAIN_S)  # read to its end, the connection lives on
        with suppress(WireError):
            reply.read()
        reply.close()

    def wait(self, failure: NoAnswerError, attempt: int) -> float | None:
        """Seconds until the next attempt; None where the provider asks for too many.

        Args:
            attempt: how many there have been.
        """
        pause: float = self.backoff_s * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)
        if failure.pause is None:
            return pause
        if failure.pause > LONGEST_PAUSE_S:
            return None
        self._not_before = max(self._not_before, time.monotonic() + failure.pause)
        return failure.pause + pause * 0.1

    def quiet_s(self) -> float:
        """How long the provider has asked to be left alone still."""
        return max(0.0, self._not_before - time.monotonic())

    def key(self) -> str | None:
        """Read now; raises ConfigError or SecretError."""
        return self._key()

    def shown(self, reason: str, key: str | None) -> str:
        """One line, fit to be shown: without the key, whoever repeats it, and other secrets."""
        line = cleaned(" ".join(reason.split())[:_READ], (key, *self._outbound.secrets))
        return f"{self.name}: {printable(whole_text(mask(line)[:_SHOWN]))}"

    def _headers(self, key: str | None) -> dict[str, str]:
        headers = {}
        if self.provider.protocol == "anthropic":
            headers["anthropic-version"] = anthropic_wire.VERSION
        if key is not None:
            own = self.provider.key_header
            headers |= {own: key} if own else self._wire.key_headers(key)
        return headers


class RemoteEngine:
    """An `Engine` over one model of a provider.

    Args:
        name: of the provider, for messages.
        model: as the provider calls it.
        key: where the key comes from; None: from where the configuration says.
        backoff_s: pause before the second attempt; doubled for each further one, up to half of it
            left to chance.
    """

    def __init__(
        self,
        name: str,
        model: str,
        provider: Provider,
        *,
        key: Callable[[], str | None] | None = None,
        backoff_s: float = 1.0,
    ) -> None:
        self._remote = Remote(name, model, provider, key=key, backoff_s=backoff_s)
        self.provider = provider

    @property
    def identity(self) -> dict[str, str]:
        """All that is known of what can change an answer and is not in the request."""
        told = {
            "engine": "remote",
            "base_url": self.provider.base_url,
            "model": self._remote.model,
        }
        return told if self.provider.protocol == "openai" else told | {"protocol": "anthropic"}

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
        check_free(self._remote.reference, any(r.choices is not None for r in requests))
        call = _Call(self._remote.key())
        with (
            progress.task(f"asking {self._remote.name}", len(requests), "answers") as task,
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
        self._remote.close()

    def _answer(self, request: Request, call: _Call) -> Answer:
        remote, attempt = self._remote, 0
        ask = remote.ask(request.messages, request.tools, _sampling(request))
        while True:
            if call.hopeless is not None:
                return _failed(call.hopeless)
            if call.stop.wait(remote.quiet_s()):
                return _failed(f"{remote.name}: stopped")
            try:
                return _answer_of(remote.whole(ask, call.key))
            except NoAnswerError as failure:
                reason = remote.shown(failure.reason, call.key)
                if failure.hopeless:
                    call.hopeless = reason
                attempt += 1
                if failure.refused:
                    return Answer(text="", finish="refused", error=reason)
                if not failure.again or attempt > self.provider.retries:
                    return _failed(reason)
                pause = remote.wait(failure, attempt)
                if pause is None:
                    return _failed(f"{reason}; it asks for {failure.pause:.0f} s of silence")
                if call.stop.wait(pause):
                    return _failed(f"{remote.name}: stopped")


def check_free(model: str, held: bool) -> None:
    """Raises ConfigError where an answer must be held to a closed list."""
    if held:
        raise ConfigError(
            "a model at a provider cannot be held to a closed list of answers.",
            where=model,
            fix="Set generate.constrained: off for it.",
        )


def _sampling(request: Request) -> Sampling:
    return Sampling(
        max_new_tokens=request.max_new_tokens,
        temperature=request.temperature,
        seed=request.seed,
        schema=request.schema,
        logprobs=request.logprobs,
    )


def _answer_of(answer: Said) -> Answer:
    if answer.calls and not answer.text:
        raise NoAnswerError("answers with a tool call, which is no text", again=False)
    tokens, usage = answer.tokens, answer.usage
    return Answer(
        text=answer.text,
        finish=answer.finish,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        logprob=None if tokens is None else _sum_of(tokens),
        tokens=tokens,
        cached_tokens=usage.cached,
        reasoning_tokens=usage.reasoning,
    )


def _end_of(answer: Said) -> End:
    """The end of a stream that came as a whole."""
    usage, tokens = answer.usage, answer.tokens
    counts = usage.prompt, usage.completion, usage.cached, usage.reasoning
    end = End(answer.finish, *counts, answer.calls)
    if tokens is None:
        return end
    return replace(end, logprob=_sum_of(tokens), scored_tokens=len(tokens))


def _sum_of(tokens: Sequence[AnswerToken]) -> float:
    return sum(token.logprob for token in tokens)


def _failed(reason: str) -> Answer:
    return Answer(text="", finish="error", error=reason)
