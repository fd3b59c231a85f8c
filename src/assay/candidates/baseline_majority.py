"""`baseline-majority`: always the most frequent label. What every other way must beat."""

from __future__ import annotations

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, Tried
from assay.generate.classical import dump_classical, fit_majority


def build(context: Context) -> Candidate:
    """The most frequent label of train."""
    model = fit_majority(context.answered)
    agent = Agent(kind="classical", model=f"classical:{context.store.put(dump_classical(model))}")
    measured = context.measure(agent)
    return Candidate(
        name="baseline-majority",
        kind="baseline-majority",
        agent=agent,
        tried=(Tried("most frequent label", measured.score, True),),
        scores=tuple(measured.primary_scores),
        baseline=True,
    )
