"""Another model answers where one fails: in order, a bounded number of times, never spliced.

    engine = FallbackEngine({"remote:far/big": far, "smollm2-135m-instruct": near})

Only what fails before its first token is tried again or handed on; once a token was passed on, a
failure is told, for the answers of two models must not become one. A model that has failed is left
alone for a while, unless all have. What a client has done wrong fails at once: it would anywhere.
A request that one model cannot take (too long for it) is handed on, and nothing is held against it.
How much to reason is said in the first one's words, which others may not know or may refuse: they
are not told.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from assay.errors import ConfigError, ModelError
from assay.example import Message
from assay.generate.stream import (
    End,
    Piece,
    RequestRefusedError,
    Sampling,
    SetUpError,
    StreamEngine,
)

EngineLoader = Callable[[], StreamEngine]


def fallback_order(model: str, fallbacks: Mapping[str, Sequence[str]]) -> list[str]:
    """The model and all that stand behind it, those behind these included, each once.

    Raises:
        ConfigError: a model stands behind itself.
    """
    found: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            chain = " → ".join([*above[above.index(name) :], name])
            raise ConfigError(
                f"a model falls back to itself: {chain}.",
                where="assay.yaml, fallback",
                fix="Remove one of these.",
            )
        if name not in found:
            found.append(name)
        for behind in fallbacks.get(name, ()):
            visit(behind, (*above, name))

    visit(model, ())
    return found


class FallbackEngine:
    """A `StreamEngine` over several.

    Args:
        chain: name -> what finds (and loads) its engine, in the order they are asked.
        retries: attempts on one model after its first.
        backoff_s: before a second attempt on one model; doubled, up to half of it left to chance.
        first_token_s: how long to wait for a first token before it counts as a failure.
        cool_down_s: how long a model that has failed is left alone.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        chain: Mapping[str, EngineLoader],
        *,
        retries: int = 1,
        backoff_s: float = 0.2,
        first_token_s: float = 60.0,
        cool_down_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not chain:
            raise ConfigError("a fallback needs a model.", where="assay.yaml, fallback")
        self._chain, self._retries, self._backoff_s = dict(chain), retries, backoff_s
        self._first = next(iter(self._chain))
        self._first_token_s, self._cool_down_s, self._clock = first_token_s, cool_down_s, clock
        self._available_at: dict[str, float] = {}

    @property
    def context_length(self) -> int:
        """Of the first, which is the one that is meant."""
        return self._chain[self._first]().context_length

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        """As `StreamEngine` says, by the first model of the chain that begins an answer."""
        return _FallbackStream(
            self,
            lambda name, engine: engine.chat(messages, tools, self._sampling_for(name, sampling)),
            sampling.at_most_once,
        )

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """As `StreamEngine` says, by the first model of the chain that begins an answer."""
        return _FallbackStream(
            self,
            lambda name, engine: engine.complete(prompt, self._sampling_for(name, sampling)),
            sampling.at_most_once,
        )

    def _sampling_for(self, name: str, sampling: Sampling) -> Sampling:
        """Without the first one's word for how much to reason, for another."""
        return sampling if name == self._first else replace(sampling, reasoning_effort=None)

    def available(self) -> list[str]:
        """Names of the models to ask, in order, without those that cool down unless all do."""
        now = self._clock()
        ready = [name for name in self._chain if self._available_at.get(name, 0.0) <= now]
        return ready or list(self._chain)

    def mark_failed(self, name: str) -> None:
        """Do not ask this model again until `cool_down_s` has passed."""
        self._available_at[name] = self._clock() + self._cool_down_s


class _FallbackStream(Iterator[Piece | End]):
    """One answer, by whoever gives its first token. Closing it ends whatever is under way."""

    def __init__(
        self,
        policy: FallbackEngine,
        ask: Callable[[str, StreamEngine], Iterator[Piece | End]],
        once: bool,
    ) -> None:
        self._policy, self._ask, self._once = policy, ask, once
        self._stream: Iterator[Piece | End] | None = None
        self._name = ""
        self._stop = threading.Event()

    def __next__(self) -> Piece | End:
        if self._stop.is_set():
            raise StopIteration
        if self._stream is None:
            return self._find_first()
        try:
            return next(self._stream)
        except ModelError:
            self._policy.mark_failed(self._name)
            raise

    def close(self) -> None:
        """End the stream that is under way; may be called from any thread."""
        self._stop.set()
        _close(self._stream)

    def _find_first(self) -> Piece | End:
        policy = self._policy
        last: ModelError | ConfigError | None = None
        for name in policy.available():
            well = False
            for attempt in range(1 + policy._retries):
                if attempt:
                    pause = policy._backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
                    self._stop.wait(pause)
                if self._stop.is_set():
                    raise StopIteration
                try:
                    item = self._first_item(name)
                except (ConfigError, RequestRefusedError) as error:  # the next one may take it
                    last, well = error, True
                    break
                except SetUpError as error:  # no key, for instance: nothing mends it
                    last = error
                    break
                except ModelError as error:
                    last = error
                    if self._once and error.charged:
                        policy.mark_failed(name)
                        raise
                    continue
                self._name = name
                return item
            if not well:
                policy.mark_failed(name)
        assert last is not None
        raise last

    def _first_item(self, name: str) -> Piece | End:
        """The first item; raises ModelError where it does not come in time."""
        came: SimpleQueue[Piece | End | BaseException] = SimpleQueue()
        streams: list[Iterator[Piece | End]] = []
        left = threading.Event()

        def begin() -> None:
            try:
                engine = self._policy._chain[name]()
                if left.is_set():  # while its model was loaded
                    return
                streams.append(self._ask(name, engine))
                came.put(next(streams[0]))
            except StopIteration:
                came.put(ModelError(f"{name}: no answer."))
            except BaseException as error:
                came.put(error)

        threading.Thread(target=begin, name="assay-first-token", daemon=True).start()
        limit = self._policy._first_token_s
        deadline = time.monotonic() + limit
        while True:
            try:
                item = came.get(timeout=0.05)
                break
            except Empty:
                late = time.monotonic() > deadline
                if late or self._stop.is_set():
                    left.set()
                    for stream in streams:
                        _close(stream)
                    if not late:
                        raise StopIteration from None
                    raise FirstTokenTimeoutError(
                        f"{name}: no first token within {limit:g} s."
                    ) from None
        if isinstance(item, BaseException):
            raise item
        [self._stream] = streams
        return item


class FirstTokenTimeoutError(ModelError):
    """A first token did not come in time; what was begun may cost something all the same."""

    charged = True


def _close(stream: Iterator[Piece | End] | None) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        try:
            close()
        except ValueError:  # a generator that is at work in its thread: it is let go
            return
