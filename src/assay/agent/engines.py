"""The engines that answer for agents: kept once loaded, and found only where consent was given.

`assay.generate.registry` says which engine a model has; routes, fallbacks, providers and their keys
are looked after here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from threading import Lock
from typing import Any

from assay.agent.agent import Agent
from assay.agent.consent import check_agreed
from assay.agent.providers import Providers, provider_of
from assay.config import REMOTE, Provider, is_remote, split_reference
from assay.generate.batch import BatchEngine
from assay.generate.fallback import FallbackEngine
from assay.generate.registry import LOCAL, EngineResources, open_batch, open_stream, scheme_of
from assay.generate.stream import EnginePool, StreamEngine
from assay.models.device import fast_dtype
from assay.store.store import Store

_CONNECTED, _LOADED = 64, 2
"""Stream engines that are kept, of models at providers and of each other scheme."""


class BatchEngines:
    """Batch engines by model; each is loaded at its first use.

    Args:
        store: where versions and classical models are.
        dtype: of local models; `auto` is bfloat16 where this machine multiplies it natively (about
            twice as fast), else float32. It is part of the engine's identity.
        keep: how many models stay in memory (a base and the version being judged).
        providers: whose models `remote:PROVIDER/MODEL` names.
        owner: the project that asks; arms of a route look into its documents alone.
        pin: of the comparison that asks: as it keeps them.
    """

    def __init__(
        self,
        store: Store,
        *,
        dtype: str = "auto",
        keep: int = 2,
        providers: Mapping[str, Provider] | None = None,
        owner: str = "",
        pin: str | None = None,
    ) -> None:
        self.store, self.keep, self.owner, self.pin = store, keep, owner, pin
        self.providers = _providers(providers, store)
        self._dtype = dtype
        self._loaded: dict[str, BatchEngine] = {}

    @cached_property
    def dtype(self) -> str:
        """The number format of local models, `auto` resolved."""
        return fast_dtype() if self._dtype == "auto" else self._dtype

    def for_agent(self, agent: Agent) -> BatchEngine:
        """The engine of the agent's model.

        Raises:
            ConfigError: the model is at a provider that nobody has described, or has agreed to.
            ModelError: the model is not there or cannot be used.
        """
        if agent.route is not None:
            from assay.agent.routed import RouteEngine

            return RouteEngine(agent, self.store, self.for_agent, self.owner, self.pin)
        if is_remote(agent.model):
            check_agreed(split_reference(agent.model)[0], self.providers)
        if agent.model not in self._loaded:
            while len(self._loaded) >= self.keep:
                del self._loaded[next(iter(self._loaded))]
            resources = _resources(self.store, self.providers, dtype=lambda: self.dtype)
            self._loaded[agent.model] = open_batch(agent.model, resources)
        engine = self._loaded.pop(agent.model)
        self._loaded[agent.model] = engine
        return engine


class StreamEngines:
    """`EnginePool` for every kind of model, with fallbacks.

    Args:
        store: where classical models are.
        language: answers for the language models of this machine.
        providers: whose models `remote:PROVIDER/MODEL` names.
        chain: a model and who answers in its place while it fails, in order; asked at every
            request, as whoever reserves money for it does.
    """

    def __init__(
        self,
        store: Store,
        language: EnginePool,
        providers: Mapping[str, Provider] | None = None,
        chain: Callable[[str], Sequence[str]] = lambda model: (model,),
    ) -> None:
        self.providers = _providers(providers, store)
        self._chain, self._language = chain, language
        self._resources = _resources(store, self.providers, pool=language)
        self._chains: dict[str, tuple[tuple[str, ...], FallbackEngine]] = {}
        self._kept: dict[str, dict[Any, tuple[Provider | None, StreamEngine]]] = {}
        self._lock, self._opening = Lock(), Lock()

    def engine(self, model: str) -> StreamEngine:
        """See `EnginePool`.

        Raises:
            ConfigError: the model falls back to itself.
            ConsentError: it is at a provider that the project has not agreed to.
        """
        names = tuple(self._chain(model))
        if len(names) == 1:
            return self._alone(model)
        with self._lock:
            known, fallback = self._chains.get(model, ((), None))
            if fallback is None or known != names:
                finds = {name: partial(self._alone, name, retries=0) for name in names}
                fallback = FallbackEngine(finds)
                self._chains[model] = names, fallback
            return fallback

    def close(self) -> None:
        """Free what the language engines hold; the rest goes with the process."""
        self._language.close()

    def _alone(self, model: str, *, retries: int | None = None) -> StreamEngine:
        """The engine of a model without its fallbacks, kept while its provider's settings stay.

        Whoever asks, and through whatever agent, route or fallback, comes by here: so consent is
        asked here.
        """
        provider = None
        resources = replace(self._resources, retries=retries)
        if is_remote(model):
            scheme = REMOTE
            name, _ = split_reference(model)
            provider = provider_of(self.providers, name)
            check_agreed(name, self.providers)
        else:
            scheme = scheme_of(model)
            if scheme in LOCAL:  # the pool keeps these
                return open_stream(model, resources)
        with self._lock if provider is not None else self._opening:  # to load a model takes time
            kept = self._kept.setdefault(scheme, {})
            described, engine = kept.pop((model, retries), (None, None))
            if engine is None or (described is not provider and described != provider):
                _close(engine)
                engine = open_stream(model, resources)
            while len(kept) >= (_LOADED if provider is None else _CONNECTED):
                _close(kept.pop(next(iter(kept)))[1])
            kept[model, retries] = provider, engine
        return engine


def _providers(given: Mapping[str, Provider] | None, store: Store) -> Providers:
    return given if isinstance(given, Providers) else Providers(given or {}, store)


def _resources(store: Store, providers: Providers, **given: Any) -> EngineResources:
    def find(name: str) -> tuple[Provider, Callable[[], str | None]]:
        provider = provider_of(providers, name)
        return provider, partial(providers.key, name, provider)

    return EngineResources(store, provider=find, **given)


def _close(engine: StreamEngine | None) -> None:
    """Close the connections that an engine does not use now, where it keeps any."""
    close = getattr(engine, "close", None)
    if close is not None:
        close()
