"""`prompt`: the system prompt alone."""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.building import Candidate, Context, as_trials
from assay.candidates.spec import CandidateSpec, prompted, unshown_answer_tokens

SPEC = CandidateSpec(
    title="system prompt alone",
    explanation="The model is told what to do, and nothing else.",
    family="prompt",
    estimate=lambda config, sizes: replace(
        prompted(config, sizes), answer_tokens=unshown_answer_tokens(config, sizes)
    ),
    proposed=True,
    learns_from_rows=lambda config: False,
)


def build(context: Context) -> Candidate:
    """Ask the configured model with the configured system prompt."""
    agent = context.chat_agent()
    chosen = context.choose_constraint(agent, context.measure(agent))
    return Candidate(
        agent=chosen.agent,
        tried=as_trials(chosen.tried),
        scores=tuple(chosen.measurement.primary_scores),
    )
