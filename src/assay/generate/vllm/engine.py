"""One model of a vLLM server, its answers piece by piece; its own chat template is never asked."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from threading import Event, Lock
from typing import Any

import httpx

from assay.chat.template import Template
from assay.errors import ModelError
from assay.generate.prompts import check_room
from assay.generate.server_engine import ServerEngine
from assay.generate.stream import (
    BusyError,
    End,
    Piece,
    PromptTooLongError,
    RequestRefusedError,
    Sampling,
    add_confidence,
)
from assay.generate.vllm.request import TokenNames, body_of, end_of, events, pieces_of, reason
from assay.generate.vllm.server import VllmServer

_RETRY_S = 5.0
"""When to ask again, where the server does not say."""


class VllmEngine(ServerEngine):
    """One model of a vLLM server.

    Args:
        name: as the server knows it.
        context_length: tokens that prompt and answer may have together.
        reload: puts it beside the base once more, where the server has forgotten it.
    """

    def __init__(
        self,
        server: VllmServer,
        name: str,
        template: Template,
        tokenizer: Any,
        context_length: int,
        reload: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(template, tokenizer)
        self.context_length = context_length
        self.server, self.name, self.reload = server, name, reload
        self.names = TokenNames(tokenizer, template.stop_ids)

    def stream(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """The server's answer, asked for when it is first read."""
        return VllmStream(self, ids, sampling)


class VllmStream(Iterator[Piece | End]):
    """One answer. `close` may be called from any thread; vLLM gives up what nobody reads."""

    def __init__(self, engine: VllmEngine, ids: Sequence[int], sampling: Sampling) -> None:
        self._engine, self._ids, self._sampling = engine, list(ids), sampling
        self._turn, self._closed = Lock(), Event()
        self._reply: httpx.Response | None = None
        self._parts: Iterator[Piece | End] | None = None
        self._has_place = False

    def __next__(self) -> Piece | End:
        with self._turn:
            try:
                if self._parts is None and not self._closed.is_set():
                    self._parts = add_confidence(self._answer(self._begin()), self._sampling)
                if self._parts is None or self._closed.is_set():  # while it began, perhaps
                    raise StopIteration
                part = next(self._parts)
            except BaseException as error:
                self._release()
                if self._closed.is_set():  # the connection was cut for that
                    raise StopIteration from None
                if isinstance(error, httpx.TimeoutException):
                    raise ModelError("the vLLM server has fallen silent.") from None
                if isinstance(error, httpx.HTTPError | httpx.StreamError):
                    raise ModelError(f"the vLLM server's answer was cut ({error}).") from None
                raise
            if isinstance(part, End) or self._closed.is_set():
                self._release()
            return part

    def close(self) -> None:
        """End it; nothing happens when it has ended."""
        self._closed.set()
        if self._turn.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._turn.release()
        elif (reply := self._reply) is not None:  # another thread waits for the next token: wake it
            connection = reply.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __del__(self) -> None:
        # Not here: a collector may come by while this very thread holds a lock of the client's.
        with suppress(AttributeError):
            if self._has_place:
                self._engine.server.abandon(self._reply)

    def _release(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.close()
        if self._has_place:
            self._has_place = False
            self._engine.server.places.release()

    def _begin(self) -> httpx.Response:
        engine = self._engine
        room = check_room(self._ids, engine.context_length)
        stops = engine.template.stop_ids
        body = body_of(engine.name, self._ids, self._sampling, room, stops)
        if not engine.server.places.acquire(blocking=False):
            raise BusyError(
                f"{engine.server.at_once} requests are at the vLLM server already.", _RETRY_S
            )
        self._has_place = True
        reply = self._reply = engine.server.complete(body)
        if reply.status_code == 404 and engine.reload is not None:  # it was started again
            reply.close()
            engine.reload()
            reply = self._reply = engine.server.complete(body)
        if reply.status_code != 200:
            raise _refusal(reply)
        return reply

    def _answer(self, reply: httpx.Response) -> Iterator[Piece | End]:
        finish: str | None = None
        usage: dict[str, Any] = {}
        for event in events(reply.iter_lines()):
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                finish = choice.get("finish_reason") or finish
                yield from pieces_of(choice, self._sampling.needed_logprobs, self._engine.names)
        yield end_of(finish, usage)


def _refusal(reply: httpx.Response) -> ModelError:
    message = reason(reply.read().decode("utf-8", "replace"))
    if reply.status_code in (429, 503):
        wait = reply.headers.get("retry-after", "")
        return BusyError(f"vLLM says: {message}", float(wait) if wait.isdecimal() else _RETRY_S)
    if reply.status_code == 400 and "context length" in message:
        return PromptTooLongError(f"vLLM says: {message}")
    kind = RequestRefusedError if reply.status_code in (400, 422) else ModelError
    return kind(f"vLLM refuses the request (HTTP {reply.status_code}): {message}")
