"""Which engine answers for a model: the scheme of its name decides, for batches and for streams.

    open_batch("version:3f9a01", resources).answer(requests)
    open_stream("remote:openai/gpt-4.1-mini", resources).chat(messages, (), Sampling())

An engine is a module with two functions, which are given the whole name of the model:

    def open_batch(model: str, resources: EngineResources) -> BatchEngine: ...
    def open_stream(model: str, resources: EngineResources) -> StreamEngine: ...

Without the second, each answer of the batch engine is streamed as one piece. A module of another
package takes part by an entry point that is named as its scheme, in that package's pyproject.toml:

    [project.entry-points."assay.engines"]
    toy = "toy_engine"

It is imported when a model of its scheme is first used, and runs with all rights of this process:
to install a package is to trust it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from assay.config import Provider
from assay.errors import ConfigError, ModelError
from assay.generate.batch import BatchEngine
from assay.generate.stream import EnginePool, StreamEngine
from assay.store.store import Store

GROUP = "assay.engines"
BUILT_IN = {
    "": "assay.generate.local",
    "version": "assay.generate.local",
    "classical": "assay.generate.classical",
    "embedded": "assay.generate.embedding_classifier",
    "nearest": "assay.generate.nearest",
    "quote": "assay.generate.quoting",
    "extract": "assay.generate.extraction",
    "calls": "assay.generate.call_extraction",
    "outside": "assay.generate.replay",
    "remote": "assay.generate.remote",
}
"""Modules by scheme; a model without a scheme is a base model of this machine."""
LOCAL = ("", "version")
"""Schemes of language models that are answered for on this machine."""
CLASSICAL = ("classical", "embedded", "nearest", "quote", "extract", "calls")
"""Schemes of models that are no language models, each kept as a blob."""


def _no_provider(name: str) -> tuple[Provider, Callable[[], str | None]]:
    raise ConfigError(f"there is no provider {name!r}.")


@dataclass(frozen=True, slots=True)
class EngineResources:
    """What an engine may take from the project that it answers for.

    Attributes:
        store: where versions and classical models are.
        dtype: number format of local models in batches; to find it out may take a second.
        pool: streams of local models, within the memory that these may take; None: there are none.
        provider: a provider and what reads its key, by its name; raises ConfigError for an unknown
            one.
        retries: attempts after the first that a stream makes; None: as the engine's own settings
            say.
    """

    store: Store
    dtype: Callable[[], str] = lambda: "float32"
    pool: EnginePool | None = None
    provider: Callable[[str], tuple[Provider, Callable[[], str | None]]] = _no_provider
    retries: int | None = None


def scheme_of(model: str) -> str:
    """The scheme of a model reference; "" where it has none that is known."""
    scheme = model.partition(":")[0] if ":" in model else ""
    return scheme if scheme in BUILT_IN or scheme in _installed(tuple(sys.path)) else ""


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The engine that answers batches for a model.

    Raises:
        ModelError: the model is not there or cannot be used.
    """
    engine: BatchEngine = _module(model).open_batch(model, resources)
    return engine


def open_stream(model: str, resources: EngineResources) -> StreamEngine:
    """The engine that answers piece by piece for a model.

    Raises:
        ModelError: the model is not there or cannot be used.
    """
    module = _module(model)
    if hasattr(module, "open_stream"):
        engine: StreamEngine = module.open_stream(model, resources)
        return engine
    from assay.generate.single_piece import SinglePieceEngine

    fixed = scheme_of(model) in CLASSICAL
    return SinglePieceEngine(module.open_batch(model, resources), fixed=fixed)


def _module(model: str) -> Any:
    scheme = scheme_of(model)
    if scheme in BUILT_IN:
        return import_module(BUILT_IN[scheme])
    [entry, *others] = _installed(tuple(sys.path))[scheme]
    if others:
        raise ModelError(
            f"several installed packages have an engine {scheme!r}: "
            f"{', '.join(sorted(e.dist.name for e in (entry, *others) if e.dist))}.",
            where=model,
            fix="Uninstall all but one.",
        )
    try:
        module = entry.load()
    except Exception as error:  # whatever another's module does when it is imported
        raise ModelError(
            f"its engine {entry.value!r} cannot be loaded ({type(error).__name__}: {error}).",
            where=model,
        ) from error
    if not hasattr(module, "open_batch"):
        raise ModelError(f"its engine {entry.value!r} has no function `open_batch`.", where=model)
    return module


@lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """Entry points of other packages by scheme, looked up anew where `sys.path` has changed."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        if entry.name not in BUILT_IN:
            found.setdefault(entry.name, []).append(entry)
    return found
