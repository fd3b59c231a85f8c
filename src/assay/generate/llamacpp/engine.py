"""A base and its versions behind one llama.cpp server that is replaced while it answers.

llama.cpp takes adapters only when it starts. A version that arrives later is loaded by a second
server over the same memory-mapped base; new requests go there, the first one answers what it has
begun and is freed with its last stream.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from assay.chat.template import Template
from assay.generate.llamacpp.server import LlamaCppServer, LlamaCppStream, ServerSettings
from assay.generate.server_engine import ServerEngine
from assay.generate.stream import End, Piece, Sampling


class AdapterServer:
    """One base file, the adapters used with it, and the server that has them.

    Args:
        settings: of the server.
        adapter_bytes: most that adapters may take; those used longest ago are left out first.
        memory: entered while a server is started.
        threads: how many a server should have now; another number starts another server.
    """

    def __init__(
        self,
        base: Path,
        settings: ServerSettings,
        adapter_bytes: int,
        memory: Callable[[], AbstractContextManager[None]] = nullcontext,
        threads: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.base, self.settings = base, settings
        self.used = time.monotonic()
        self._adapter_bytes, self._memory, self._threads = adapter_bytes, memory, threads
        self._files: dict[str, Path] = {}  # in the order of their last use
        self._server: LlamaCppServer | None = None
        self._all: weakref.WeakSet[LlamaCppServer] = weakref.WeakSet()
        self._loading, self._lock = Lock(), Lock()

    @property
    def is_loaded(self) -> bool:
        """Whether a server is in memory."""
        return self._server is not None

    def add(self, name: str, file: Path) -> None:
        """Make an adapter known; it is loaded when it is first asked for."""
        with self._lock:
            self._files.setdefault(name, file)

    def server(self, adapter: str | None) -> LlamaCppServer:
        """The server that has an adapter, started if need be while the present one goes on.

        Raises:
            ModelError: it cannot be loaded.
        """
        self.used = time.monotonic()
        with self._lock:
            if adapter is not None:
                self._files[adapter] = self._files.pop(adapter)
            if (server := self._find_server(adapter)) is not None:
                return server
        with self._loading:
            if (server := self._find_server(adapter)) is not None:
                return server
            with self._memory():
                settings = replace(self.settings, threads=self._threads() or self.settings.threads)
                server = LlamaCppServer(self.base, self._recent_adapters(adapter), settings)
                self._all.add(server)
                self._server = server
            return server

    def unload(self) -> None:
        """Forget the server; it is freed when it has answered what it has begun."""
        self._server = None

    def close(self) -> None:
        """Forget the server; streams under way end with an error."""
        self._server = None
        for server in list(self._all):
            server.abort()

    def _find_server(self, adapter: str | None) -> LlamaCppServer | None:
        server, threads = self._server, self._threads()
        if server is None or threads not in (None, server.settings.threads):
            return None
        return server if adapter is None or adapter in server.adapters else None

    def _recent_adapters(self, requested: str | None) -> dict[str, Path]:
        """The adapter that is asked for, whatever others ask for meanwhile, then those last used,
        as many as may be in memory."""
        with self._lock:
            files = dict(reversed(self._files.items()))
        kept: dict[str, Path] = {} if requested is None else {requested: files.pop(requested)}
        left = self._adapter_bytes - sum(map(_size, kept.values()))
        for name, file in files.items():
            left -= _size(file)
            if kept and left < 0:
                break
            if file.is_file():  # else it is told to whoever asks for it
                kept[name] = file
        return kept


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


class LlamaCppEngine(ServerEngine):
    """One model (a base, or a base with a version) of an `AdapterServer`.

    Args:
        adapter: the version's name there; None: the base alone.
    """

    def __init__(
        self,
        adapter_server: AdapterServer,
        template: Template,
        tokenizer: Any,
        adapter: str | None = None,
    ) -> None:
        super().__init__(template, tokenizer)
        self.context_length = adapter_server.settings.context
        self._adapter_server, self._adapter = adapter_server, adapter

    def stream(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """The answer of whichever server has the adapter when it is first read."""
        adapter_server, adapter = self._adapter_server, self._adapter
        return LlamaCppStream(lambda: adapter_server.server(adapter), ids, sampling, adapter)
