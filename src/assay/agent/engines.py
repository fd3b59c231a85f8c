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
from assay.agent.consent import check_agreed, check_consent, check_server_agreed
from assay.agent.key_origins import check_origin
from assay.agent.providers import Providers, provider_of
from assay.agent.routing import leaves
from assay.config import REMOTE, Config, Provider, is_remote, split_reference
from assay.generate.batch import BatchEngine, Request
from assay.generate.fallback import FallbackEngine
from assay.generate.registry import LOCAL, EngineResources, open_batch, open_stream, scheme_of
from assay.generate.stream import EnginePool, StreamEngine
from assay.generate.vllm.batch import VllmBatches
from assay.models.device import fast_dtype
from assay.progress import SILENT, Progress
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
        vllm: what the project's vLLM server answers for; None: there is none.
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
        vllm: VllmBatches | None = None,
    ) -> None:
        self.store, self.keep, self.owner, self.pin = store, keep, owner, pin
        self.providers = _providers(providers, store)
        self._dtype, self._vllm = dtype, vllm
        self._loaded: dict[str, BatchEngine] = {}

    @classmethod
    def of(
        cls, config: Config, store: Store, providers: Providers, owner: str, pin: str | None = None
    ) -> BatchEngines:
        """As the settings of a project say."""
        vllm = None
        if config.vllm is not None:
            vllm = VllmBatches(store, config.vllm, config.model, owner)
        dtype = config.generate.dtype
        return cls(store, dtype=dtype, providers=providers, owner=owner, pin=pin, vllm=vllm)

    @cached_property
    def dtype(self) -> str:
        """The number format of local models, `auto` resolved."""
        return fast_dtype() if self._dtype == "auto" else self._dtype

    def is_served(self, model: str) -> bool:
        """Whether the project's vLLM server answers for a model."""
        return self._vllm is not None and self._vllm.answers_for(model)

    def serves(self, agent: Agent) -> bool:
        """Whether that server answers for an agent, or for an arm of its route."""
        if self._vllm is None or agent.kind == "outside":
            return False
        return any(self.is_served(leaf.model) for leaf in leaves(agent, self.store).values())

    @cached_property
    def here(self) -> BatchEngines:
        """The same without a server of one's own: for what looks at weights or probabilities, and
        for what holds expected answers."""
        if self._vllm is None:
            return self
        return BatchEngines(
            self.store,
            dtype=self._dtype,
            keep=self.keep,
            providers=self.providers,
            owner=self.owner,
            pin=self.pin,
        )

    @property
    def server(self) -> str:
        """Version and address of the vLLM server that has answered here; empty: none has."""
        return "" if self._vllm is None else self._vllm.about

    @property
    def waits(self) -> int:
        """How often a request has waited for the vLLM server, which had no room for it."""
        return 0 if self._vllm is None else self._vllm.waits

    def check_server(self) -> None:
        """Refuse to measure by the vLLM server where the project has not agreed.

        Raises:
            ConfigError: it is on another machine, and nobody has.
        """
        if self._vllm is not None:
            check_server_agreed(self._vllm)

    def check_sending(
        self, model: str, requests: Sequence[Request], progress: Progress = SILENT
    ) -> None:
        """Refuse to send requests where the project has not agreed; say what leaves this machine.

        Raises:
            ConsentError: the project has not agreed that they go to the model's provider.
            ConfigError: or to its vLLM server, on another machine.
        """
        check_consent(model, self.providers, requests, progress)
        if self._vllm is not None and self.is_served(model):
            check_server_agreed(self._vllm, len(requests), progress)

    def for_agent(self, agent: Agent) -> BatchEngine:
        """The engine of the agent's model.

        Raises:
            ConfigError: the model is at a provider that nobody has described, or has agreed to; or
                the vLLM server does not hold it, or nobody has agreed to it.
            ModelError: the model is not there or cannot be used.
            OutageError: the vLLM server does not answer.
        """
        if agent.route is not None:
            from assay.agent.routed import RouteEngine

            return RouteEngine(agent, self.store, self.for_agent, self.owner, self.pin)
        if is_remote(agent.model):
            check_agreed(split_reference(agent.model)[0], self.providers)
        if self._vllm is not None and self.is_served(agent.model):
            return self._served(self._vllm, agent.model)
        if agent.model not in self._loaded:
            while len(self._loaded) >= self.keep:
                del self._loaded[next(iter(self._loaded))]
            resources = _resources(self.store, self.providers, dtype=lambda: self.dtype)
            self._loaded[agent.model] = open_batch(agent.model, resources)
        engine = self._loaded.pop(agent.model)
        self._loaded[agent.model] = engine
        return engine

    def _served(self, vllm: VllmBatches, model: str) -> BatchEngine:
        """The engine of a model that the vLLM server answers for; it takes no memory here."""
        check_server_agreed(vllm)
        mine = self.providers
        check_origin(self.store, mine.project, mine.who, "vllm", vllm.settings.provider())
        return vllm.engine(model)


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
