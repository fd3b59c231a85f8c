"""The engines of a comparison behind a server: what was measured answers, whole answers at a time.

They stream nothing and answer one request after the other. A faster engine takes their place for
models it can run; classical models are answered here in any case.
"""

from __future__ import annotations

from threading import Lock

from assay.agent.agent import Agent
from assay.agent.engines import Engines
from assay.generate.local import LocalEngine
from assay.generate.whole import WholeAnswers
from assay.store.store import Store

_CLASSICAL_CONTEXT = 2**20


class WholeEngines:
    """`ServingEngines` over `agent.engines.Engines`.

    Args:
        store: where versions and classical models are.
        keep: how many models stay in memory.
    """

    def __init__(self, store: Store, *, dtype: str = "auto", keep: int = 2) -> None:
        self._engines = Engines(store, dtype=dtype, keep=keep)
        self._lock = Lock()

    def engine(self, model: str) -> WholeAnswers:
        """See `ServingEngines`."""
        with self._lock:
            engine = self._engines.for_agent(Agent(model=model))
        context = _CLASSICAL_CONTEXT
        if isinstance(engine, LocalEngine):
            context = engine.loaded.context_length
        return WholeAnswers(engine, context)

    def close(self) -> None:
        """Nothing is held that the end of the process does not free."""
