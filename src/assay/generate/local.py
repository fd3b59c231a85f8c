"""Models of this machine: bases by their reference, versions by `version:ID`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from assay.config import Vllm
from assay.generate.batch import BatchEngine
from assay.generate.registry import EngineResources
from assay.generate.stream import EnginePool, StreamEngine


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The model in transformers, as evaluation asks it; see `assay.generate.registry`."""
    from assay.chat.template import Template
    from assay.generate.base import load_merged
    from assay.generate.transformers.batch import TransformersBatchEngine
    from assay.models.load import load, load_tokenizer
    from assay.models.versions import load_version, version_id

    if (id := version_id(model)) is None:
        loaded = load(model, dtype=resources.dtype())
        return TransformersBatchEngine(loaded, Template.of(loaded.tokenizer))
    version = load_version(resources.store.folder, id)
    tokenizer, _ = load_tokenizer(version.record.base)
    template = Template.from_dict(tokenizer, version.record.template)
    loaded = load_merged(version, template, resources.dtype())
    return TransformersBatchEngine(loaded, template)


def open_stream(model: str, resources: EngineResources) -> StreamEngine:
    """The engine that the pool has for the model; see `assay.generate.registry`."""
    assert resources.pool is not None
    return resources.pool.engine(model)


def open_pool(
    state: Path, vllm: Vllm | None = None, crowded: Callable[[], bool] = lambda: False
) -> EnginePool:
    """What serves the language models of a project.

    Args:
        state: the project's state folder, where its versions are.
        vllm: a vLLM server that holds them; None: this process does.
        crowded: whether other work keeps the processor busy, such as a training.
    """
    if vllm is not None:
        from assay.generate.vllm.pool import VllmPool

        return VllmPool(state, vllm)
    from assay.generate.local_pool import LocalPool

    return LocalPool(state, crowded=crowded)
