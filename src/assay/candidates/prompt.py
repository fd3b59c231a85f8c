"""`prompt`: the system prompt alone."""

from __future__ import annotations

from assay.candidates.building import Candidate, Context, as_tried


def build(context: Context) -> Candidate:
    """The configured system prompt on the configured model."""
    agent = context.chat_agent()
    chosen = context.choose_constraint(agent, context.measure(agent))
    return Candidate(
        name="prompt",
        kind="prompt",
        agent=chosen.agent,
        tried=as_tried(chosen.tried),
        scores=tuple(chosen.measurement.primary_scores),
    )
