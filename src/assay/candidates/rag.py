"""`rag`: passages of the project's documents before the input."""

from __future__ import annotations

from assay.agent.agent import Agent, Knowledge
from assay.candidates.building import Candidate, Context, as_tried
from assay.candidates.documents import choose_search, room


def build(context: Context) -> Candidate:
    """The best way of searching, number of passages and threshold, chosen on validation."""

    def agent_with(knowledge: Knowledge) -> Agent:
        return context.chat_agent(knowledge=knowledge)

    found = choose_search(context, agent_with, room(context))
    chosen = context.choose_constraint(found.agent, found.measurement)
    return Candidate(
        name="rag",
        kind="rag",
        agent=chosen.agent,
        tried=as_tried(found.tried) + as_tried(chosen.tried),
        scores=tuple(chosen.measurement.primary_scores),
        warnings=found.warnings,
    )
