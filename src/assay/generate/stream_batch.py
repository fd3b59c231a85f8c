"""A stream engine that answers batches, several requests at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from itertools import islice
from threading import Event, Lock
from typing import Any

from assay.chat.template import Template
from assay.errors import AssayError, ConfigError, DataError
from assay.generate.batch import Answer, Request
from assay.generate.stream import (
    BusyError,
    End,
    Piece,
    PromptTooLongError,
    RequestRefusedError,
    Sampling,
    StreamEngine,
)
from assay.progress import SILENT, Progress

BUSY_WAITS, LONGEST_WAIT_S = 3, 30.0
"""How often a request waits for an engine that has no room for it, and for how long at most."""


class StreamBatchEngine:
    """A `BatchEngine` over a `StreamEngine`. Tokens of answers are not told one by one.

    Attributes:
        waits: how often a request has waited for an engine that had no room for it.

    Args:
        identity: see `BatchEngine`.
        at_once: requests under way together.
        is_confident: every answer has its log-probability, asked for or not.
        owner: see `Sampling`.
    """

    def __init__(
        self,
        engine: StreamEngine,
        template: Template,
        identity: Mapping[str, str],
        at_once: int = 8,
        *,
        is_confident: bool = False,
        owner: str = "",
    ) -> None:
        self.engine, self.template, self.at_once = engine, template, at_once
        self.waits = 0
        self._identity, self._is_confident, self._owner = dict(identity), is_confident, owner

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request."""
        return self._identity

    def prompt_length(self, request: Request) -> int:
        """Tokens of the rendered request."""
        return len(self.template.prompt(request.messages, request.tools))

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """One answer for each request, in their order; raises as `answer_each`."""
        answers: dict[int, Answer] = {}
        with (
            progress.task("answering", len(requests), "requests") as task,
            closing(self.answer_each(requests)) as found,
        ):
            for place, answer in found:
                answers[place] = answer
                task.advance()
        return [answers[place] for place in range(len(requests))]

    def answer_each(self, requests: Iterable[Request]) -> Generator[tuple[int, Answer]]:
        """Answers as they come, each with the place of its request.

        A request is drawn when it is sent, so whoever gives them may stop. Closing this, or an
        interrupt, ends those that are under way.

        Raises:
            ConfigError: a schema that cannot be followed.
            DataError: messages that the chat template refuses.
        """
        streams, numbered = _OpenStreams(), enumerate(requests)
        running: dict[Future[Answer], int] = {}
        workers = ThreadPoolExecutor(self.at_once)
        try:
            while True:
                for place, request in islice(numbered, self.at_once - len(running)):
                    running[workers.submit(self._answer, request, streams)] = place
                if not running:
                    return
                for one in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(one), one.result()
        finally:
            streams.close()
            workers.shutdown(wait=False, cancel_futures=True)

    def _answer(self, request: Request, streams: _OpenStreams) -> Answer:
        sampling = Sampling(
            max_new_tokens=request.max_new_tokens,
            temperature=request.temperature,
            seed=request.seed,
            schema=request.schema,
            choices=request.choices,
            calls=request.calls,
            confidence=self._is_confident or request.logprobs is not None,
            owner=self._owner,
        )
        waits = 0
        while True:
            try:
                return self._read(request, sampling, streams)
            except BusyError as error:
                waits += 1
                self.waits += 1
                pause = min(error.retry_after_s, LONGEST_WAIT_S)
                if waits > BUSY_WAITS or streams.is_closed.wait(pause):
                    return Answer("", "error", error=str(error))
            except (PromptTooLongError, RequestRefusedError) as error:
                return Answer("", "refused", error=str(error))
            except (ConfigError, DataError):
                raise
            except AssayError as error:
                return Answer("", "error", error=str(error))

    def _read(self, request: Request, sampling: Sampling, streams: _OpenStreams) -> Answer:
        text, end = "", None
        stream = self.engine.chat(request.messages, request.tools, sampling)
        with streams.holding(stream):
            for part in stream:
                if isinstance(part, Piece):
                    text += part.text
                else:
                    end = part
        if end is None:
            return Answer("", "error", error="it was ended before it was whole.")
        return Answer(
            text, end.finish, end.prompt_tokens, end.completion_tokens, logprob=end.logprob
        )


class _OpenStreams:
    """The streams under way, so that all can be ended at once."""

    def __init__(self) -> None:
        self.is_closed = Event()
        self._open: list[Iterator[Piece | End]] = []
        self._lock = Lock()

    @contextmanager
    def holding(self, stream: Iterator[Piece | End]) -> Iterator[None]:
        """Within, `close` ends the stream; at once where all are ended already."""
        with self._lock:
            self._open.append(stream)
        if self.is_closed.is_set():
            _close(stream)
        try:
            yield
        finally:
            with self._lock:
                self._open = [one for one in self._open if one is not stream]

    def close(self) -> None:
        self.is_closed.set()
        with self._lock:
            open_now = list(self._open)
        for stream in open_now:
            _close(stream)


def _close(stream: Any) -> None:
    with suppress(AttributeError, ValueError):  # a generator that runs cannot be closed
        stream.close()
