"""The engines behind a server, whatever an agent's model is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock

from assay.agent.agent import Agent
from assay.agent.consent import check_agreed
from assay.agent.engines import Engines
from assay.agent.providers import Providers, provider_of
from assay.config import REMOTE, Provider
from assay.generate.fallback import Fallback
from assay.generate.remote import split_reference
from assay.generate.remote.stream import RemoteServing
from assay.generate.stream import ServingEngine, ServingEngines
from assay.generate.whole import WholeAnswers
from assay.store.store import Store

_WHOLE = "classical:"
_REMOTE = 64  # models of providers whose connections are kept
_CONTEXT = 2**20  # such engines count themselves what is too long


class AgentEngines:
    """`ServingEngines` for every kind of agent.

    Classical models answer whole, by the engines of a comparison.

    Args:
        store: where classical models are.
        language: answer for the language models of this machine.
        providers: whose models `remote:PROVIDER/MODEL` names.
        chain: a model and who answers in its place while it fails, in order; asked at every
            request, as whoever reserves money for it does.
    """

    def __init__(
        self,
        store: Store,
        language: ServingEngines,
        providers: Mapping[str, Provider] | None = None,
        chain: Callable[[str], Sequence[str]] = lambda model: (model,),
    ) -> None:
        self._chain = chain
        self._chains: dict[str, tuple[tuple[str, ...], Fallback]] = {}
        self._language = language
        self._whole = Engines(store, providers=providers)
        self._remote: dict[tuple[str, bool], tuple[Provider, RemoteServing]] = {}
        self._lock = Lock()

    @property
    def providers(self) -> Providers:
        """Whose models can be named."""
        return self._whole.providers

    def engine(self, model: str) -> ServingEngine:
        """See `ServingEngines`.

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
                finds = {name: partial(self._alone, name, retry=False) for name in names}
                fallback = Fallback(finds)
                self._chains[model] = names, fallback
            return fallback

    def _alone(self, model: str, *, retry: bool = True) -> ServingEngine:
        if model.startswith(REMOTE):
            return self._of_provider(model, retry)
        if not model.startswith(_WHOLE):
            return self._language.engine(model)
        with self._lock:
            return WholeAnswers(self._whole.for_agent(Agent(model=model)), _CONTEXT)

    def close(self) -> None:
        """Free what the language engines hold; the rest goes with the process."""
        self._language.close()

    def _of_provider(self, model: str, retry: bool) -> RemoteServing:
        """Kept with its connections for as long as the provider's settings stay the same.

        Whoever asks, and through whatever agent, route or fallback, comes by here: so consent is
        asked here.
        """
        name, at = split_reference(model)
        provider = provider_of(self.providers, name)
        check_agreed(name, self.providers)
        with self._lock:
            kept = model, retry
            described, engine = self._remote.get(kept, (None, None))
            if engine is None or (described is not provider and described != provider):
                if engine is not None:
                    engine.close()
                key = partial(self.providers.key, name, provider)
                engine = RemoteServing(name, at, provider, key=key, retries=None if retry else 0)
                while len(self._remote) >= _REMOTE:
                    self._remote.pop(next(iter(self._remote)))[1].close()
                self._remote[kept] = provider, engine
        return engine
