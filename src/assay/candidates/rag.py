"""`rag`: passages of the project's documents before the input."""

from __future__ import annotations

from assay.agent.agent import Agent, Knowledge
from assay.candidates.building import Candidate, Context, as_trials
from assay.candidates.shared.documents import available_characters, choose_search
from assay.candidates.spec import (
    DOCUMENTS,
    CandidateSpec,
    Workload,
    passage_runs,
    unshown_answer_tokens,
)

SPEC = CandidateSpec(
    title="document passages",
    explanation="Passages of your documents that fit the question are put before it.",
    family="documents",
    estimate=lambda config, sizes: Workload(
        passage_runs(config, sizes), unshown_answer_tokens(config, sizes)
    ),
    needs=(DOCUMENTS,),
    proposed=True,
    learns_from_rows=lambda config: False,
)


def build(context: Context) -> Candidate:
    """Choose search, number of passages and threshold on validation."""

    def agent_with(knowledge: Knowledge) -> Agent:
        return context.chat_agent(knowledge=knowledge)

    found = choose_search(context, agent_with, available_characters(context))
    chosen = context.choose_constraint(found.agent, found.measurement)
    return Candidate(
        agent=chosen.agent,
        tried=as_trials(found.tried) + as_trials(chosen.tried),
        scores=tuple(chosen.measurement.primary_scores),
        warnings=found.warnings,
    )
