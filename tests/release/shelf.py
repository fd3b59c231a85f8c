"""A store with saved agents and comparisons of them, made without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

from tests.compare.sample import sample_result
from tests.compare.yearly import yearly

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.compare.entries import Entry, Terms
from assay.compare.result import Opening, Result
from assay.compare.verdict import Decision, decide
from assay.store.store import Store
from assay.store.tables import ComparisonRow, now

PROJECT = "support"


def shelf(folder: Path, count: int = 3, store: Store | None = None) -> tuple[Store, list[str]]:
    """A store with `count` versions of the agent `tuned`; returns their agents' ids, in order."""
    store = store or Store(folder)
    agents = [Agent(model="m", system_prompt=f"prompt {n}") for n in range(count)]
    for agent in agents:
        save_agent(store, "tuned", agent, message="made for a test", author="a test")
    return store, [agent.id for agent in agents]


def compared(
    store: Store,
    scores: dict[str, Sequence[float]],
    *,
    id: str = "c",
    minutes: int = 0,
    good_enough: float | None = None,
    incomplete: str | None = None,
    opening: int = 1,
    cheap: str | None = None,
    margin_for_cheaper: float | None = None,
    primary: str | None = None,
) -> Result:
    """A finished comparison of agents by their scores on the same examples; the verdict is real.

    Args:
        minutes: after the other comparisons.
        cheap: the agent that is cheaper to own than all others; None: no cost is known.
        primary: the grader that decided; None: that of the other comparisons.
    """
    names = {agent: f"candidate-{n}" for n, agent in enumerate(scores)}
    entries = [
        Entry(
            name=names[agent],
            scores=list(values),
            incomplete=agent == incomplete,
            **yearly(None if cheap is None else 1.0 if agent == cheap else 9.0),
        )
        for agent, values in scores.items()
    ]
    terms = Terms(good_enough=good_enough, opening=opening, margin_for_cheaper=margin_for_cheaper)
    decision = decide(entries, None, terms)
    by_name = {name: agent for agent, name in names.items()}
    result = as_result(decision, by_name, opening=opening, id=id, incomplete=incomplete)
    holdout = len(next(iter(scores.values())))
    data = result.data.model_copy(update={"holdout": holdout})
    result = result.model_copy(update={"data": data, "primary": primary or result.primary})
    with store.session() as session:
        session.add(
            ComparisonRow(
                id=result.comparison,
                holdout="h" * 64,
                plan=result.plan.model_dump(mode="json"),
                result=result.model_dump(mode="json"),
                at=now() + timedelta(minutes=minutes),
            )
        )
    return result


def as_result(
    decision: Decision,
    agents: Mapping[str, str],
    *,
    opening: int = 1,
    id: str = "c",
    incomplete: str | None = None,
) -> Result:
    """The result of a comparison that came to this decision.

    Args:
        agents: the id of each candidate's agent, by the candidate's name.
        incomplete: the agent that answers are missing of.
    """
    sample = _sample()
    candidates = [
        sample.candidates[0].model_copy(
            update={
                "name": f.name,
                "kind": "prompt",
                "agent": agents[f.name],
                "baseline": False,
                "floor": False,
                "score": f.score,
                "low": f.low,
                "high": f.high,
                "eligible": f.eligible,
                "status": "incomplete" if agents[f.name] == incomplete else "complete",
            }
        )
        for f in decision.candidates
    ]
    return sample.model_copy(
        update={
            "comparison": id * 64,
            "candidates": candidates,
            "pairs": list(decision.pairs),
            "verdict": decision.verdict,
            "opening": Opening(number=opening, alpha=decision.level),
        }
    )


@lru_cache
def _sample() -> Result:
    return sample_result(20)


def right(share: float, n: int = 1000, shift: int = 0) -> list[float]:
    """Scores of which a share is 1, the same examples for the same share."""
    return [float(((i * 7919 + shift) % n) / n < share) for i in range(n)]
