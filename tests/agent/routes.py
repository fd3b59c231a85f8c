"""Agents with routes over agents that are only saved, and an embedder of three words."""

from __future__ import annotations

import numpy as np

from assay.agent.agent import Agent, make_routed
from assay.agent.learned import Floats, RouterModel, RouterSettings, dump_router
from assay.agent.route import Cascade, LearnedRoute, Route, Rule, Rules
from assay.agent.versions import save_agent
from assay.store import blobs
from assay.store.store import Store
from assay.store.tables import AgentRow

WORDS = ("card", "hard", "easy")


class ByWords:
    """A vector [3] of a text: which of the three words are in it."""

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = [[float(word in text) for word in WORDS] for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), 3)


def saved(store: Store, name: str, agent: Agent | None = None) -> str:
    """The id of an agent, saved; without one, of a chat agent whose model has this name."""
    agent = agent or Agent(model=name, system_prompt=f"I am {name}.")
    return save_agent(store, name, agent, message="m").agent


def hard_goes_to_strong() -> RouterModel:
    """Predicts that the strong arm gains where the text says `hard`."""
    coefficients: Floats = np.array([[0.0, -8.0, 0.0], [0.0, 0.0, 0.0]])
    return RouterModel(
        RouterSettings("logistic", strength=1.0),
        {"coefficients": coefficients, "intercept": np.array([4.0, 4.0])},
    )


def cascade(store: Store, cheap: str, strong: str, threshold: float = 0.5) -> Agent:
    """A cascade by the probability of whole answers."""
    return make_routed(
        Cascade(
            cheap=saved(store, cheap),
            strong=saved(store, strong),
            confidence="answer",
            threshold=threshold,
        )
    )


def learned(store: Store, cheap: str, strong: str, threshold: float = 0.1) -> Agent:
    """A learned router that knows what is hard."""
    model = blobs.put(store, dump_router(hard_goes_to_strong()))
    return make_routed(
        LearnedRoute(
            cheap=saved(store, cheap),
            strong=saved(store, strong),
            model=model,
            threshold=threshold,
        )
    )


def by_rules(otherwise: str, *rules: Rule, classifier: str | None = None) -> Agent:
    """A route by rules over ids."""
    return make_routed(Rules(rules=rules, otherwise=otherwise, classifier=classifier))


def forged(store: Store, id: str, route: Route) -> None:
    """Put an agent with this route under an id that is not its content's, as no program would."""
    with store.session() as session:
        session.add(AgentRow(id=id, body=make_routed(route).canonical()))
