"""`fine-tune-reinforced`: a version that has learned what graders say of its own answers."""

from __future__ import annotations

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context
from assay.candidates.shared import training_work
from assay.candidates.spec import ONE_PROCESS, CandidateSpec

SPEC = CandidateSpec(
    title="fine-tuned by a grader",
    explanation="A fine-tuned model draws answers of its own, and learns from what a grader says "
    "of them. Takes hours.",
    family="training",
    answers_from_rows=True,
    needs=(ONE_PROCESS,),
    estimate=training_work.of_graders,
    sends=training_work.sends_of_graders,
)


def build(context: Context) -> Candidate:
    """Train versions, the best by validation reward kept, and measure them on validation."""
    from assay.candidates.shared.tuning import tune  # loads torch

    def agent_of(version: str) -> Agent:
        return context.chat_agent(model=f"version:{version}", system_prompt=context.training_prompt)

    own = context.with_training(method="reinforcement", graded_rows=0)
    return tune(own, agent_of)
