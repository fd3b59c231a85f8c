"""A provider's model behind a server: its answers piece by piece.

    engine = RemoteStreamEngine("openai", "gpt-4.1-mini", config.providers["openai"])
    for item in engine.chat(messages, (), Sampling()): ...

`batch` has them whole.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from assay.config import Provider
from assay.errors import ConfigError, ModelError, UsageError
from assay.example import Message
from assay.generate.remote.batch_endpoint import BatchReply
from assay.generate.remote.connection import ActiveRequest
from assay.generate.remote.model import RemoteModel, check_unconstrained
from assay.generate.remote.wire import CompletionRequest, NoAnswerError
from assay.generate.stream import (
    BusyError,
    End,
    Piece,
    RequestRefusedError,
    Sampling,
    SetUpError,
)
from assay.store.secrets import SecretError

CONTEXT = 2**20
"""Such engines count themselves what is too long."""
_BUSY_S = 5.0  # until a provider that does not say when is asked again


class RemoteError(ModelError):
    """A provider's model did not answer."""

    def __init__(self, reason: str, *, charged: bool = True) -> None:
        super().__init__(reason)
        self.charged = charged


class RemoteStreamEngine:
    """A `StreamEngine` over one model of a provider.

    Args:
        retries: attempts after the first; None: those of the provider.
    """

    context_length = CONTEXT

    def __init__(
        self,
        name: str,
        model: str,
        provider: Provider,
        *,
        key: Callable[[], str | None] | None = None,
        retries: int | None = None,
        backoff_s: float = 0.5,
    ) -> None:
        self.remote = RemoteModel(name, model, provider, key=key, backoff_s=backoff_s)
        self._retries = provider.retries if retries is None else retries

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        """See `StreamEngine`; raises RemoteError where no answer came, or it broke off."""
        request = self.request(messages, tools, sampling)
        return _Stream(self.remote, request, self._retries, self.key())

    def request(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> CompletionRequest:
        """What the provider is asked.

        Raises:
            ConfigError, UsageError: its protocol has no such request.
        """
        check_unconstrained(self.remote.reference, sampling.choices is not None)
        if sampling.logprobs is not None and self.remote.provider.protocol == "anthropic":
            raise UsageError("this model's provider does not return logprobs.")
        if sampling.seed is None and sampling.temperature > 0:
            sampling = replace(sampling, seed=secrets.randbits(31))
        return self.remote.request(messages, tools, sampling)

    def key(self) -> str | None:
        """The provider's key, as it is now; raises SetUpError."""
        try:
            return self.remote.key()
        except (ConfigError, SecretError) as error:
            raise SetUpError(self.remote.name, error) from None

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """Refused: providers answer conversations only."""
        raise UsageError("a model at a provider answers conversations only.")

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.remote.close()


class RepliedEngine:
    """A `StreamEngine` whose one answer is there: the reply of a provider's batch.

    Args:
        reply: the body of an answer, or why there is none.
        key: which no message may repeat.
    """

    context_length = CONTEXT

    def __init__(self, remote: RemoteModel, reply: BatchReply, key: str | None) -> None:
        self._remote, self._reply, self._key = remote, reply, key

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        """See `StreamEngine`; raises as that of single requests."""
        try:
            if isinstance(self._reply, NoAnswerError):
                raise self._reply
            answer = self._remote.parse(self._reply, sampling)
        except NoAnswerError as failure:
            reason = self._remote.describe_failure(failure.reason, self._key)
            if failure.refused:
                raise RequestRefusedError(reason) from None
            raise RemoteError(reason, charged=failure.charged) from None
        return self._remote.items(answer)

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """Refused: a reply answers a conversation."""
        raise UsageError("a model at a provider answers conversations only.")


class _Stream(Iterator[Piece | End]):
    """One answer as it comes. Closing it hangs up at once, from whichever thread."""

    def __init__(
        self, remote: RemoteModel, request: CompletionRequest, retries: int, key: str | None
    ) -> None:
        self._remote, self._request, self._retries = remote, request, retries
        self._key = key
        self._active = ActiveRequest()
        self._items: Iterator[Piece | End] | None = None
        self._charged = False

    def __next__(self) -> Piece | End:
        if self._active.is_stopped.is_set():
            raise StopIteration
        try:
            return self._open() if self._items is None else next(self._items)
        except ConfigError as error:
            raise SetUpError(self._remote.name, error) from None
        except NoAnswerError as failure:
            self._active.abort()
            charged = self._charged or failure.charged
            reason = self._remote.describe_failure(failure.reason, self._key)
            if failure.busy and not charged:
                raise BusyError(reason, failure.pause or _BUSY_S) from None
            if failure.refused and not charged:
                raise RequestRefusedError(reason) from None
            raise RemoteError(reason, charged=charged) from None

    def close(self) -> None:
        """Abort the request; may be called from any thread."""
        self._active.stop()

    def _open(self) -> Piece | End:
        """The first item, after as many attempts as it takes and are allowed."""
        attempt, stopped = 0, self._active.is_stopped
        while True:
            if stopped.wait(self._remote.pause_left_s()):
                raise StopIteration
            try:
                reply = self._remote.send(
                    self._request, self._key, stream=True, on_connection=self._active.use
                )
                self._active.receive(reply)
                if stopped.is_set():
                    raise StopIteration
                items = self._remote.read_stream(reply, self._request)
                first = next(items)
                self._items = items
                return first
            except NoAnswerError as failure:
                self._active.abort()
                if stopped.is_set():
                    raise StopIteration from None
                self._charged |= failure.charged
                attempt += 1
                once = self._request.sampling.at_most_once and failure.charged
                if once or not failure.is_retryable or attempt > self._retries:
                    raise
                pause = self._remote.retry_pause(failure, attempt)
                if pause is None:
                    raise
                if stopped.wait(pause):
                    raise StopIteration from None
