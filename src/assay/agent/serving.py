"""The engines behind a server, whatever an agent's model is."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from assay.agent.agent import Agent
from assay.agent.engines import Engines
from assay.config import REMOTE, Provider
from assay.generate.serving import ServingEngine, ServingEngines
from assay.generate.whole import WholeAnswers
from assay.store.store import Store

_WHOLE = ("classical:", REMOTE)
_CONTEXT = 2**20  # such engines count themselves what is too long


class AgentEngines:
    """`ServingEngines` for every kind of agent.

    Classical models and models at a provider answer whole, by the engines of a comparison.

    Args:
        store: where classical models are.
        language: answer for the language models of this machine.
        providers: whose models `remote:PROVIDER/MODEL` names.
    """

    def __init__(
        self,
        store: Store,
        language: ServingEngines,
        providers: Mapping[str, Provider] | None = None,
    ) -> None:
        self._language = language
        self._whole = Engines(store, providers=providers)
        self._lock = Lock()

    def engine(self, model: str) -> ServingEngine:
        """See `ServingEngines`."""
        if not model.startswith(_WHOLE):
            return self._language.engine(model)
        with self._lock:
            return WholeAnswers(self._whole.for_agent(Agent(model=model)), _CONTEXT)

    def close(self) -> None:
        """Free what the language engines hold; the rest goes with the process."""
        self._language.close()
