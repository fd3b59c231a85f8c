"""`baseline-majority`: always the most frequent label. What every other candidate must beat."""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, Trial
from assay.candidates.spec import LABELS, CandidateSpec, prompted
from assay.generate.classical import dump_classical, fit_majority

SPEC = CandidateSpec(
    title="always the most frequent answer",
    explanation="Always gives the most frequent answer. What everything must beat.",
    family="fitted",
    estimate=lambda config, sizes: replace(prompted(config, sizes), answered_by="classifier"),
    needs=(LABELS,),
    baseline=True,
    floor=True,
)


def build(context: Context) -> Candidate:
    """Answer everything with the most frequent label of train."""
    model = fit_majority(context.answered)
    agent = Agent(kind="classical", model=f"classical:{context.store.put(dump_classical(model))}")
    measured = context.measure(agent)
    return Candidate(
        agent=agent,
        tried=(Trial("most frequent label", measured.score, True),),
        scores=tuple(measured.primary_scores),
    )
