"""The engines of a vLLM server's models: for a machine with a GPU.

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve Qwen/Qwen3-0.6B --enable-lora

    engines = VllmPool(store, Vllm(base_url="http://127.0.0.1:8001/v1"))
    engines.engine("version:3f9a01").chat(messages, (), Sampling())

Somebody else starts the server (a systemd unit, say); it holds one base. Tuned versions of it are
put beside the base while it runs, when they are first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock

from assay.config import Vllm
from assay.errors import ModelError
from assay.generate.base import BaseDescription, describe_base, load_version_template
from assay.generate.remote.connection import ActiveRequest
from assay.generate.vllm.engine import VllmEngine
from assay.generate.vllm.server import ServedModel, VllmServer
from assay.models.versions import (
    ADAPTER,
    ADAPTER_CONFIG,
    REFERENCE,
    full_id,
    lend_folder,
    load_version,
    version_bits,
    version_id,
)
from assay.store.store import Store


class VllmPool:
    """See `EnginePool`.

    Attributes:
        server: that holds them.

    Args:
        store: of the project, whose folder the server must see under the same path; None: base
            models only.
        settings: where the server is.
    """

    def __init__(self, store: Store | None, settings: Vllm) -> None:
        self._store = store
        self.server = VllmServer(settings)
        self._engines: dict[str, VllmEngine] = {}
        self._opening: dict[str, Event] = {}
        self._bases: dict[str, BaseDescription] = {}
        self._lock = Lock()

    def engine(self, model: str) -> VllmEngine:
        """The engine of a model reference or of `version:ID`.

        Raises:
            ModelError: the server cannot be reached, or holds neither the model nor its base.
        """
        with self._lock:
            if (known := self._engines.get(model)) is not None:
                return known
        if (id := version_id(model)) is None:
            return self._engine(model, lambda: self._open_base(model))
        if version_bits(model) < 16:
            raise ModelError(
                "a vLLM server cannot load a version in fewer bits.",
                where=model,
                fix="Serve it without `vllm` in assay.yaml, or use the version itself.",
            )
        if (store := self._store) is None:
            raise ModelError("there are no versions here.", fix="Open a project.")
        full = full_id(store, id)
        return self._engine(f"{REFERENCE}{full}", lambda: self._open_version(store, full))

    def close(self) -> None:
        """Close the connections; streams under way end with an error."""
        self.server.close()

    def _engine(self, name: str, make: Callable[[], VllmEngine]) -> VllmEngine:
        """The engine of this name; many that ask at once have it made once."""
        with self._lock:
            if (known := self._engines.get(name)) is not None:
                return known
            others = self._opening.get(name)
            mine = self._opening.setdefault(name, Event())
        if others is not None:
            others.wait()
            with self._lock:
                if (known := self._engines.get(name)) is not None:
                    return known
        # An error is only for the one that met it. Those who have waited try it for themselves, at
        # the same time, so that none waits for more than one other.
        try:
            made = make()
            with self._lock:
                return self._engines.setdefault(name, made)
        finally:
            if others is None:
                with self._lock:
                    del self._opening[name]
                mine.set()

    def _open_base(self, ref: str) -> VllmEngine:
        base = self._base(ref)
        listed = self._find_model(base)
        context, weights = _context(listed), base.weights_sha256
        return VllmEngine(self.server, listed.id, base.template, base.tokenizer, context, weights)

    def _open_version(self, store: Store, id: str) -> VllmEngine:
        version = load_version(store, id)
        base = self._base(version.record.base)
        template = load_version_template(version, base)
        # As `assay export --to vllm` names it, whether as an adapter or merged.
        exported = f"assay-{version.id[:12]}"
        found = next((line for line in self.server.models() if line.id == exported), None)
        if found is not None:
            context = found.context or _context(self._find_model(base))
            return VllmEngine(self.server, exported, template, base.tokenizer, context, version.id)
        if version.whole or version.has_layers:
            what = "all weights" if version.whole else "embeddings and head"
            raise ModelError(
                f"{what} of this version were trained, but the vLLM server has not loaded them.",
                where=version.id,
                fix=f"Run `assay export {version.id[:12]} --to vllm`, then start the "
                "server that it prepares.",
            )
        listed, name = self._find_model(base), f"assay-{id}"
        folder = lend_folder(store, version)

        def load(active: ActiveRequest) -> None:
            if not all((folder / file).is_file() for file in (ADAPTER, ADAPTER_CONFIG)):
                lend_folder(store, load_version(store, id))  # somebody has removed it
            self.server.load_adapter(name, folder, active)

        load(ActiveRequest())
        context = _context(listed)
        return VllmEngine(self.server, name, template, base.tokenizer, context, id, reload=load)

    def _base(self, ref: str) -> BaseDescription:
        with self._lock:
            found = self._bases.get(ref)
        if found is None:
            found = describe_base(ref)
            with self._lock:
                self._bases[ref] = found
        return found

    def _find_model(self, base: BaseDescription) -> ServedModel:
        """The server's line for a base, which it may have been given as a name or as a folder.

        Raises:
            ModelError: it holds something else.
        """
        lines = self.server.models()
        own = {base.ref, str(base.folder), str(base.folder.resolve())}
        for line in lines:
            if {line.id, line.root} & own:
                return line
        raise ModelError(
            f"the vLLM server has not loaded {base.ref}; it has loaded "
            f"{', '.join(line.root for line in lines) or 'nothing'}.",
            where=self.server.url,
            fix=f"Start it with `vllm serve {base.folder} --enable-lora`.",
        )


def _context(line: ServedModel) -> int:
    if line.context is None:
        raise ModelError("the vLLM server does not report its context length.", where=line.id)
    return line.context
