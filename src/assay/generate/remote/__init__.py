"""Models at a provider: the wire, the way out of this machine, engines for batches and streams."""

from __future__ import annotations

from assay.config import split_reference
from assay.generate.batch import BatchEngine
from assay.generate.registry import EngineResources
from assay.generate.stream import StreamEngine


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The engine that asks a provider for whole answers; see `assay.generate.registry`."""
    from assay.generate.remote.batch import RemoteBatchEngine

    name, at = split_reference(model)
    provider, key = resources.provider(name)
    return RemoteBatchEngine(name, at, provider, key=key)


def open_stream(model: str, resources: EngineResources) -> StreamEngine:
    """The engine that asks a provider for answers in pieces; see `assay.generate.registry`."""
    from assay.generate.remote.stream import RemoteStreamEngine

    name, at = split_reference(model)
    provider, key = resources.provider(name)
    return RemoteStreamEngine(name, at, provider, key=key, retries=resources.retries)
