"""Finds the engine of a model on this machine, and keeps within a stated amount of memory.

    engines = LocalPool(store)
    for piece in engines.engine("version:3f9a01").chat(messages, (), Sampling()):
        ...

llama.cpp answers for what it can hold, versions as adapters beside their base; transformers for
the rest. What was used longest ago is unloaded when something else needs its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from threading import Condition, Lock, RLock
from typing import Any

from assay import garbage
from assay.chat.template import Template
from assay.errors import ModelError
from assay.generate.base import BaseDescription, describe_base, load_merged, load_version_template
from assay.generate.llamacpp.engine import AdapterServer, LlamaCppEngine
from assay.generate.llamacpp.files import adapter_file, base_file, merged_file
from assay.generate.llamacpp.server import ServerSettings
from assay.generate.stream import StreamEngine
from assay.models.device import cores, fast_dtype, free_bytes
from assay.models.gguf_adapter import adapter_refusal
from assay.models.gguf_export import folder_tensors
from assay.models.load import key_width, load
from assay.models.versions import LocalVersion, load_version, version_bits, version_id
from assay.store.store import Store

SHARE_OF_MEMORY = 0.5
"""Of what is free at the start, where nobody states an amount."""
SHARE_OF_KEYS, SHARE_OF_ADAPTERS = 0.25, 0.25
"""Of the stated memory, for keys and values of one model, and for the adapters beside it."""
WORKING_BYTES = 200_000_000
"""A llama.cpp server's own buffers; measured at 60 to 140 MB for the starter model."""
SHORTEST_CONTEXT = 2048


@dataclass(slots=True)
class _PoolEntry:
    """An engine in memory, or ready to be loaded again, and what it takes.

    Attributes:
        loading: it is on its way into memory, and its room is its own already.
    """

    bytes: int
    in_memory: Callable[[], bool]
    used: Callable[[], float]
    unload: Callable[[], None]
    loading: bool = False


class LocalPool:
    """See `EnginePool`.

    Args:
        store: of the project, where its versions are; None: base models only.
        memory_bytes: that all models in memory may take together. While one server takes over
            from another, both have their buffers.
        settings: of llama.cpp's servers; `context` is lowered to the model's and to what memory
            allows.
        crowded: whether other work keeps the processor busy for a while, such as a training:
            llama.cpp then has threads on half of the cores, unless `settings` say how many.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        memory_bytes: int | None = None,
        settings: ServerSettings | None = None,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self.memory_bytes = (
            int(free_bytes() * SHARE_OF_MEMORY) if memory_bytes is None else memory_bytes
        )
        self.settings = settings or ServerSettings()
        self._store, self._crowded = store, crowded
        self._bases: dict[str, BaseDescription] = {}
        self._servers: dict[str, AdapterServer] = {}
        self._engines: dict[str, StreamEngine] = {}
        self._entries: dict[str, _PoolEntry] = {}
        self._lock, self._reading = RLock(), Lock()
        self._loaded = Condition(self._lock)

    def engine(self, model: str) -> StreamEngine:
        """The engine of a model reference or of `version:ID`; loaded when it is first asked.

        Raises:
            ModelError: there is no such model, or it cannot be loaded.
        """
        with self._lock:
            if (known := self._engines.get(model)) is not None:
                return known
        if (id := version_id(model)) is None:
            return self._engine(model, lambda: self._open_base(model))
        if self._store is None:
            raise ModelError("there are no versions here.", fix="Open a project.")
        version, bits = load_version(self._store, id), version_bits(model)
        if bits == 16:
            return self._engine(f"version:{version.id}", lambda: self._open_version(version))
        name = f"version:{version.id}/{bits}"
        return self._engine(name, lambda: self._open_coarse(version, bits))

    def close(self) -> None:
        """Free everything; streams under way end with an error."""
        with self._lock:
            for server in self._servers.values():
                server.close()
            for entry in self._entries.values():
                entry.unload()
            self._engines.clear()

    def _engine(self, name: str, make: Callable[[], StreamEngine]) -> StreamEngine:
        with self._lock:
            found = self._engines.get(name)
        if found is None:
            made = make()  # may take long: others are served meanwhile
            with self._lock:
                found = self._engines.setdefault(name, made)
        return found

    def _open_base(self, ref: str) -> StreamEngine:
        base = self._base(ref)
        if base.refusal is None:
            server = self._server(base.weights_sha256, base_file(base), base)
            return LlamaCppEngine(server, base.template, base.tokenizer)
        return self._open_transformers(
            ref, base.template, base, lambda: load(ref, dtype=fast_dtype())
        )

    def _open_version(self, version: LocalVersion) -> StreamEngine:
        assert self._store is not None
        base = self._base(version.record.base)
        template = load_version_template(version, base)
        if base.refusal is not None or template.stop_ids != base.template.stop_ids:
            return self._open_transformers(
                f"version:{version.id}",
                template,
                base,
                lambda: load_merged(version, template, fast_dtype()),
            )
        if version.whole or adapter_refusal(version.folder) is not None:
            server = self._server(
                version.id, merged_file(version, template, self._store.folder), base
            )
            return LlamaCppEngine(server, template, base.tokenizer)
        file = adapter_file(version, base, self._store.folder)
        server = self._server(base.weights_sha256, base_file(base), base)
        server.add(version.id, file)
        return LlamaCppEngine(server, template, base.tokenizer, adapter=version.id)

    def _open_coarse(self, version: LocalVersion, bits: int) -> StreamEngine:
        """A version in fewer bits than it was trained in, as a whole model of its own."""
        assert self._store is not None
        base = self._base(version.record.base)
        template = load_version_template(version, base)
        file = merged_file(version, template, self._store.folder, bits)
        server = self._server(f"{version.id}/{bits}", file, base)
        return LlamaCppEngine(server, template, base.tokenizer)

    def _base(self, ref: str) -> BaseDescription:
        # One after the other: the first imports transformers, whose lazy modules fail where two
        # threads do so at the same time.
        with self._reading:
            if (found := self._bases.get(ref)) is None:
                found = self._bases[ref] = describe_base(ref)
            return found

    def _server(self, name: str, file: Path, base: BaseDescription) -> AdapterServer:
        with self._lock:
            if name not in self._servers:
                settings = self._fit_settings(base)
                server = AdapterServer(
                    file,
                    settings,
                    int(self.memory_bytes * SHARE_OF_ADAPTERS),
                    lambda: self._reserve(name),
                    self._threads,
                )
                size = file.stat().st_size + WORKING_BYTES
                size += settings.slots * settings.context * settings.key_bytes
                self._servers[name] = server
                self._entries[name] = _PoolEntry(
                    size, lambda: server.is_loaded, lambda: server.used, server.unload
                )
            return self._servers[name]

    def _threads(self) -> int:
        if self.settings.threads is not None:
            return self.settings.threads
        return max(1, cores() // 2) if self._crowded() else cores()

    def _fit_settings(self, base: BaseDescription) -> ServerSettings:
        """The settings with as much context as the model has and memory allows."""
        slots = self.settings.slots
        context = min(self.settings.context, base.context_length)
        each = _key_bytes(base.config, self.settings)
        while slots * context * each > self.memory_bytes * SHARE_OF_KEYS:
            if context > SHORTEST_CONTEXT:
                context //= 2
            elif slots > 1:
                slots //= 2
            else:
                break
        return replace(self.settings, slots=slots, context=context, key_bytes=each)

    def _open_transformers(
        self, name: str, template: Template, base: BaseDescription, read: Callable[[], Any]
    ) -> StreamEngine:
        # With torch: 180 MB that a server whose models llama.cpp answers for does without.
        from assay.generate.transformers.stream import TransformersStreamEngine

        width = 2 if fast_dtype() == "bfloat16" else 4
        size = width * sum(prod(part.shape) for part in folder_tensors(base.folder))
        with self._lock:
            if (known := self._engines.get(name)) is not None:  # two may have asked at once
                return known
            engine = TransformersStreamEngine(
                read,
                template,
                base.tokenizer,
                base.context_length,
                room=lambda: self._reserve(name),
            )
            self._engines[name] = engine
            self._entries[name] = _PoolEntry(
                size, lambda: engine.is_loaded, lambda: engine.used, engine.unload
            )
            return engine

    @contextmanager
    def _reserve(self, name: str) -> Iterator[None]:
        """Room for `name` while it is loaded: what was used longest ago is unloaded for it.

        What others are loading at the same moment has its room, too; where there is none left
        beside it, they are waited for.

        Raises:
            ModelError: it is larger than the stated memory.
        """
        with self._loaded:
            entry = self._entries[name]
            if entry.bytes > self.memory_bytes:
                raise ModelError(
                    f"this model needs {entry.bytes / 1e9:.1f} GB, but models may use only "
                    f"{self.memory_bytes / 1e9:.1f} GB.",
                    where=name,
                    fix="Allow more memory, or serve a smaller model.",
                )
            self._loaded.wait_for(lambda: self._unload_for(name))
            entry.loading = True
        try:
            yield
        finally:
            with self._loaded:
                entry.loading = False
                self._loaded.notify_all()
            garbage.exempt()

    def _unload_for(self, name: str) -> bool:
        """Unload what was used longest ago until `name` fits; whether it does now."""
        left = self.memory_bytes - self._entries[name].bytes
        others = [entry for other, entry in self._entries.items() if other != name]
        left -= sum(entry.bytes for entry in others if entry.loading or entry.in_memory())
        idle = [entry for entry in others if entry.in_memory() and not entry.loading]
        unloaded = False
        for entry in sorted(idle, key=lambda entry: entry.used()):
            if left >= 0:
                break
            entry.unload()
            unloaded = True
            left += entry.bytes
        if unloaded:
            garbage.reclaim()
        return left >= 0


def _key_bytes(config: Any, settings: ServerSettings) -> int:
    """What keys and values of one token take."""
    layers: int = config.get_text_config().num_hidden_layers
    return 2 * layers * key_width(config) * (4 if settings.exact else 2)
