"""Answers from llama.cpp, in this process: one server over a base and the adapters beside it.

    server = LlamaCppServer(base, {"version:...": adapter_file}, settings)
    for piece in server.answer(token_ids, sampling, adapter="version:..."):
        ...

Prompts come as token ids, so that the model reads exactly what was evaluated. Answers under way
are computed together, token by token (continuous batching).

llama.cpp keeps the keys and values of earlier prompts, and a request that does not name its
adapters may be answered from what another adapter computed, without a word. Hence: every request
carries the whole list of adapters with their scales, the cache beyond the slots is off, and a slot
that last worked under another adapter, or for another owner, computes its prompt afresh.
"""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

import xllamacpp

from assay import wait_policy
from assay.errors import ModelError
from assay.generate.llamacpp.request import body_of, end_of, piece_of
from assay.generate.llamacpp.slots import CacheOrigin, QueueTicket, Slot, SlotQueue
from assay.generate.prompts import check_room
from assay.generate.stream import End, Piece, Sampling
from assay.models import zero_pages
from assay.models.device import cores

PROMPT_BATCH = 512
"""Tokens of a prompt computed before anything else gets a turn, a hang-up among it."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server runs.

    Attributes:
        slots: answers made at the same time.
        context: tokens of prompt and answer that each slot has room for.
        waiting: requests that may wait for a slot.
        threads: of the processor; None: one for each core.
        exact: keys and values in 32 bits and plain attention: closer to transformers, slower.
        key_bytes: what keys and values of one token take; 0: not known.
    """

    slots: int = 8
    context: int = 8192
    waiting: int = 128
    threads: int | None = None
    exact: bool = False
    key_bytes: int = 0


class LlamaCppServer:
    """A loaded base with adapters. Its memory is freed when nobody holds it any more.

    Args:
        base: GGUF file, memory-mapped: several servers over one file share it.
        adapters: GGUF files by the name they are asked for by.

    Raises:
        ModelError: llama.cpp cannot load one of the files.
    """

    def __init__(self, base: Path, adapters: Mapping[str, Path], settings: ServerSettings) -> None:
        self.settings = settings
        self.key = secrets.token_urlsafe(32)
        self.adapters = tuple(adapters)
        self.slots = SlotQueue(settings.slots, settings.waiting)
        self._streams: weakref.WeakSet[LlamaCppStream] = weakref.WeakSet()
        for file in (base, *adapters.values()):
            if not file.is_file():
                raise ModelError("there is no such file.", where=str(file))
        before = zero_pages.mappings()
        try:
            wait_policy.adapt()
            self._server = xllamacpp.Server(_parameters(base, adapters, settings, self.key))
            # Its loop may not have begun yet, and would not hear of its end: a server that is freed
            # then waits for it for ever, and all of Python with it. With an answer, it has begun.
            self._server.handle_metrics()
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"llama.cpp cannot load this model ({str(error).strip() or 'no reason given'}).",
                where=str(base),
                fix="Remove the file, so that it is created again, or free some memory.",
            ) from None
        zero_pages.give_back(settings.slots * settings.context * settings.key_bytes, before)

    @property
    def address(self) -> str:
        """Where llama.cpp's own HTTP server listens (loopback; it wants `key`)."""
        address: str = self._server.listening_address
        return address

    def answer(
        self, ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> LlamaCppStream:
        """Continue token ids under an adapter; None is the base alone."""
        return LlamaCppStream(lambda: self, ids, sampling, adapter)

    def begin(self, stream: LlamaCppStream) -> None:
        """Remember a stream, so that `abort` reaches it."""
        self._streams.add(stream)

    def run(self, body: dict[str, Any], slot: Slot, origin: CacheOrigin, on_chunk: Any) -> None:
        """One request, blocking; `on_chunk` gets every chunk and returns True to cancel."""
        adapter = origin.adapter
        if adapter is not None and adapter not in self.adapters:
            raise ModelError("this server has not loaded the requested version.")
        prompt = body["prompt"]
        body = {
            **body,
            "id_slot": slot.number,
            "lora": [
                {"id": place, "scale": float(name == adapter)}
                for place, name in enumerate(self.adapters)
            ],
            "cache_prompt": slot.origin == origin,
        }
        slot.origin, slot.tokens = origin, prompt
        self._server.handle_completions(body, on_chunk)

    def abort(self) -> None:
        """End all streams with an error."""
        for stream in list(self._streams):
            stream.fail(ModelError("the model was unloaded while it was answering."))


def _parameters(
    base: Path, adapters: Mapping[str, Path], settings: ServerSettings, key: str
) -> Any:
    given = xllamacpp.CommonParams()
    given.model.path = str(base)
    given.n_parallel = settings.slots
    given.n_ctx = settings.slots * settings.context
    given.kv_unified = False
    given.cache_ram_mib = 0
    given.n_batch = given.n_ubatch = PROMPT_BATCH
    given.swa_full = True  # else a sliding window cannot go on from a shared beginning
    threads = settings.threads or cores()
    for parameters in (given.cpuparams, given.cpuparams_batch):
        parameters.n_threads = threads
        parameters.poll = 0  # without OpenMP (macOS) its threads spin between operations, too
    given.warmup = given.fit_params = given.ctx_shift = given.ui = False
    given.verbosity = -1
    given.api_keys = [key]  # its HTTP server cannot be left out; this process alone has the key
    given.n_threads_http = 1
    given.endpoint_slots = given.endpoint_props = False
    given.endpoint_metrics = True  # see where it is asked
    if settings.exact:
        given.cache_type_k = given.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        given.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    beside = []
    for file in adapters.values():
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = str(file), 0.0
        beside.append(adapter)
    given.lora_adapters = beside
    return given


class LlamaCppStream(Iterator[Piece | End]):
    """One answer. `close` may be called from any thread and frees the slot at the next token.

    Args:
        find: the server that answers, asked when the first piece is.
    """

    def __init__(
        self,
        find: Callable[[], LlamaCppServer],
        ids: Sequence[int],
        sampling: Sampling,
        adapter: str | None,
    ) -> None:
        self._find = find
        self._server: LlamaCppServer | None = None
        self._ids, self._sampling = list(ids), sampling
        self._origin = CacheOrigin(adapter, sampling.owner)
        self._ticket = QueueTicket()
        self._chunks: SimpleQueue[Any] = SimpleQueue()
        self._started = False
        self._logprob, self._scored = 0.0, 0
        self._is_over = Event()
        self._lock = Lock()

    def __iter__(self) -> LlamaCppStream:
        return self

    def __next__(self) -> Piece | End:
        try:
            if not self._started:
                self._begin()
            while not self._is_over.is_set():
                chunk = self._chunks.get()
                if chunk is None:
                    break
                if isinstance(chunk, Exception):
                    raise chunk
                if (end := end_of(chunk)) is not None:
                    while self._chunks.get() is not None:
                        pass  # the slot is free then: whoever asks next finds its prefix there
                    self.close()
                    return self._with_confidence(end)
                if (piece := self._piece(chunk)) is not None:
                    return piece
            raise StopIteration
        except BaseException:
            self.close()
            raise

    def _piece(self, chunk: dict[str, Any]) -> Piece | None:
        piece = piece_of(chunk, self._sampling.needed_logprobs)
        if piece is None or piece.token is None:
            return piece
        if piece.token.bytes:  # else it is the stop token
            self._logprob += piece.token.logprob
            self._scored += 1
        if self._sampling.logprobs is None:
            return Piece(piece.text) if piece.text else None
        return piece

    def _with_confidence(self, end: End) -> End:
        if not self._sampling.confidence:
            return end
        return replace(end, logprob=self._logprob, scored_tokens=self._scored)

    def _begin(self) -> None:
        self._started = True
        if self._is_over.is_set():
            return
        server = self._find()
        with self._lock:
            if self._is_over.is_set():  # closed while the model was loaded
                return
            self._server = server
        server.begin(self)
        context = server.settings.context
        check_room(self._ids, context)
        body = body_of(self._ids, self._sampling, context)
        slot = server.slots.acquire(self._origin, self._ids, self._ticket)
        if slot is not None:
            work = (server, slot, body, self._origin, self._ticket, self._chunks)
            Thread(target=_run_request, args=work, daemon=True).start()

    def close(self) -> None:
        """End it; nothing happens when it has ended."""
        with self._lock:
            server, self._server = self._server, None
            self._is_over.set()
        if server is not None:
            server.slots.cancel(self._ticket)
            self._chunks.put(None)

    def fail(self, error: ModelError) -> None:
        """End it with an error for whoever reads it."""
        server = self._server
        if server is not None:
            self._chunks.put(error)
            server.slots.cancel(self._ticket)

    def __del__(self) -> None:
        with suppress(AttributeError):
            self.close()


def _run_request(
    server: LlamaCppServer,
    slot: Slot,
    body: dict[str, Any],
    origin: CacheOrigin,
    ticket: QueueTicket,
    chunks: SimpleQueue[Any],
) -> None:
    """Make an answer; of the stream itself it holds nothing, so that one left behind is closed."""

    def on_chunk(chunk: Any) -> bool:
        chunks.put(chunk)
        return ticket.cancelled

    try:
        server.run(body, slot, origin, on_chunk)
    except Exception as error:  # told to whoever reads
        chunks.put(ModelError(f"llama.cpp refused the request ({error})."))
    finally:
        server.slots.release(slot)
        chunks.put(None)
