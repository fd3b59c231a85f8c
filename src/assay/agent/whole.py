"""The engines of a comparison behind a server: what was measured answers, whole answers at a time.

They stream nothing and answer one request after the other. Engines that are made for serving take
their place for language models; classical models are answered here in any case.
"""

from __future__ import annotations

from threading import Lock

from assay.agent.agent import Agent
from assay.agent.engines import Engines
from assay.generate.local import LocalEngine
from assay.generate.serving import ServingEngine, ServingEngines
from assay.generate.whole import WholeAnswers
from assay.store.store import Store

_CLASSICAL_CONTEXT = 2**20


class WholeEngines:
    """`ServingEngines` over `agent.engines.Engines`.

    Args:
        store: where versions and classical models are.
        language: answer for language models; None: the engines of a comparison do.
        keep: how many models stay in memory.
    """

    def __init__(
        self,
        store: Store,
        *,
        language: ServingEngines | None = None,
        dtype: str = "auto",
        keep: int = 2,
    ) -> None:
        self._language = language
        self._engines = Engines(store, dtype=dtype, keep=keep)
        self._lock = Lock()

    def engine(self, model: str) -> ServingEngine:
        """See `ServingEngines`."""
        if self._language is not None and not model.startswith("classical:"):
            return self._language.engine(model)
        with self._lock:
            engine = self._engines.for_agent(Agent(model=model))
        context = _CLASSICAL_CONTEXT
        if isinstance(engine, LocalEngine):
            context = engine.loaded.context_length
        return WholeAnswers(engine, context)

    def close(self) -> None:
        """Free what the language engines hold; the rest goes with the process."""
        if self._language is not None:
            self._language.close()
