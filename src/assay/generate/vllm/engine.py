"""One model of a vLLM server, its answers piece by piece; its own chat template is never asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from assay.chat.template import Template
from assay.errors import ModelError
from assay.generate.prompts import check_room
from assay.generate.remote.connection import ActiveRequest, WireError
from assay.generate.remote.wire import NoAnswerError, events
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
from assay.generate.vllm.request import TokenNames, body_of, end_of, pieces_of
from assay.generate.vllm.server import RETRY_S, VllmServer, describe_error


class VllmEngine(ServerEngine):
    """One model of a vLLM server.

    Args:
        name: as the server knows it.
        context_length: tokens that prompt and answer may have together.
        weights: what its weights are known by: the base's hash, or the version's id.
        reload: puts it beside the base once more, where the server has forgotten it, as a part of
            a request that can be ended.
    """

    def __init__(
        self,
        server: VllmServer,
        name: str,
        template: Template,
        tokenizer: Any,
        context_length: int,
        weights: str,
        reload: Callable[[ActiveRequest], None] | None = None,
    ) -> None:
        super().__init__(template, tokenizer)
        self.context_length = context_length
        self.server, self.name, self.weights, self.reload = server, name, weights, reload
        self.names = TokenNames(tokenizer, template.stop_ids)

    def stream(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """The server's answer, asked for when it is first read."""
        return VllmStream(self, ids, sampling)


class VllmStream(Iterator[Piece | End]):
    """One answer. `close` may be called from any thread; vLLM gives up what nobody reads."""

    def __init__(self, engine: VllmEngine, ids: Sequence[int], sampling: Sampling) -> None:
        self._active = ActiveRequest()
        self._engine, self._ids, self._sampling = engine, list(ids), sampling
        self._parts: Iterator[Piece | End] | None = None

    def __next__(self) -> Piece | End:
        stopped = self._active.is_stopped
        if stopped.is_set():
            raise StopIteration
        try:
            if self._parts is None:
                self._parts = add_confidence(self._answer(), self._sampling)
            part = next(self._parts)
        except BaseException as error:
            was_stopped = stopped.is_set()
            self.close()
            if was_stopped:  # the connection was cut for that
                raise StopIteration from None
            if isinstance(error, WireError):
                raise ModelError(f"the vLLM server did not finish: {error.reason}.") from None
            if isinstance(error, NoAnswerError):
                raise ModelError(f"vLLM says: {error.reason}.") from None
            raise
        if isinstance(part, End):
            self.close()
        return part

    def close(self) -> None:
        """End it; nothing happens when it has ended."""
        self._active.stop()
        self._engine.server.streams.discard(self)

    def fail(self) -> None:
        """End it with an error for whoever reads it."""
        self._active.abort()

    def __del__(self) -> None:
        with suppress(AttributeError):
            self._active.stop()

    def _answer(self) -> Iterator[Piece | End]:
        engine = self._engine
        server = engine.server
        room = check_room(self._ids, engine.context_length)
        body = body_of(engine.name, self._ids, self._sampling, room, engine.template.stop_ids)
        server.enter(self)
        reply = server.complete(body, self._active)
        if reply.status == 404 and engine.reload is not None:  # it was started again
            reply.close()
            engine.reload(self._active)
            reply = server.complete(body, self._active)
        if reply.status != 200:
            raise _refusal(reply.status, reply.read(), reply.header("retry-after"))
        finish: str | None = None
        usage: dict[str, Any] = {}
        for event in events(reply, server.silence_s, math.inf):
            usage = event.get("usage") or usage
            for choice in event.get("choices") or ():
                finish = choice.get("finish_reason") or finish
                yield from pieces_of(choice, self._sampling.needed_logprobs, engine.names)
        reply.drain()
        yield end_of(finish, usage)


def _refusal(status: int, raw: bytes, wait: str) -> ModelError:
    message = describe_error(raw)
    if status in (429, 503):
        return BusyError(f"vLLM says: {message}", float(wait) if wait.isdecimal() else RETRY_S)
    if status == 400 and "context length" in message:
        return PromptTooLongError(f"vLLM says: {message}")
    kind = RequestRefusedError if status in (400, 422) else ModelError
    return kind(f"vLLM refuses the request (HTTP {status}): {message}")
