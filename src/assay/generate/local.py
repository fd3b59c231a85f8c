"""Models of this machine: bases by their reference, versions by `version:ID`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from importlib.metadata import version as package_version
from math import prod
from pathlib import Path

from assay.config import Vllm
from assay.generate.batch import BatchEngine
from assay.generate.registry import LOCAL, EngineResources, scheme_of
from assay.generate.stream import EnginePool, StreamEngine
from assay.store.store import Store


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The model in transformers, as evaluation asks it; see `assay.generate.registry`."""
    from assay.chat.template import Template
    from assay.generate.base import load_merged
    from assay.generate.transformers.batch import TransformersBatchEngine
    from assay.models.load import load, load_tokenizer
    from assay.models.versions import load_version, version_bits, version_id

    if (id := version_id(model)) is None:
        loaded = load(model, dtype=resources.dtype())
        return TransformersBatchEngine(loaded, Template.of(loaded.tokenizer))
    if version_bits(model) < 16:
        return _open_coarse(model, resources.store)
    version = load_version(resources.store, id)
    tokenizer, _ = load_tokenizer(version.record.base)
    template = Template.from_dict(tokenizer, version.record.template)
    loaded = load_merged(version, template, resources.dtype())
    return TransformersBatchEngine(loaded, template)


def _open_coarse(model: str, store: Store) -> BatchEngine:
    """A version in fewer bits: llama.cpp answers in evaluation as it does when it is served."""
    from assay.generate.llamacpp.files import FORM
    from assay.generate.local_pool import LocalPool
    from assay.generate.server_engine import ServerEngine
    from assay.generate.stream_batch import StreamBatchEngine

    pool = LocalPool(store)
    engine = pool.engine(model)
    assert isinstance(engine, ServerEngine)
    identity = {
        "engine": "llama.cpp",
        "model": model,
        "template": engine.template.sha256,
        "form": str(FORM),
        "xllamacpp": package_version("xllamacpp"),
        "llguidance": package_version("llguidance"),
    }
    made = StreamBatchEngine(engine, engine.template, identity)
    # A pool and its servers hold each other, and are exempt from collections (`assay.garbage`).
    weakref.finalize(made, pool.close)
    return made


def weight_bytes(model: str, store: Store) -> int | None:
    """What a model's weights take in memory as it is served, in bytes: two for each, or as many as
    its file has where it is held in fewer bits; None of a model that is not of this machine.

    Args:
        store: of the project, where its versions are.
    """
    if scheme_of(model) not in LOCAL:
        return None
    from assay.chat.template import Template
    from assay.generate.llamacpp.files import merged_file
    from assay.models.gguf_export import folder_tensors
    from assay.models.load import load_tokenizer
    from assay.models.pull import pull
    from assay.models.versions import load_version, version_bits, version_id

    def count(folder: Path) -> int:
        return sum(prod(tensor.shape) for tensor in folder_tensors(folder))

    if (id := version_id(model)) is None:
        return 2 * count(pull(model))
    version = load_version(store, id)
    if (bits := version_bits(model)) < 16:
        tokenizer, _ = load_tokenizer(version.record.base)
        template = Template.from_dict(tokenizer, version.record.template)
        return merged_file(version, template, store.folder, bits).stat().st_size
    if version.whole:
        return 2 * count(version.folder)
    own = count(pull(version.record.base))
    if version.has_layers:  # served merged: they take the place of the base's own
        return 2 * own
    return 2 * (own + count(version.folder))


def open_stream(model: str, resources: EngineResources) -> StreamEngine:
    """The engine that the pool has for the model; see `assay.generate.registry`."""
    assert resources.pool is not None
    return resources.pool.engine(model)


def open_pool(
    store: Store, vllm: Vllm | None = None, crowded: Callable[[], bool] = lambda: False
) -> EnginePool:
    """What serves the language models of a project.

    Args:
        store: of the project, where its versions are.
        vllm: a vLLM server that holds them; None: this process does.
        crowded: whether other work keeps the processor busy, such as a training.
    """
    if vllm is not None:
        from assay.generate.vllm.pool import VllmPool

        return VllmPool(store, vllm)
    from assay.generate.local_pool import LocalPool

    return LocalPool(store, crowded=crowded)
