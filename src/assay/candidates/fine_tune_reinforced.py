"""`fine-tune-reinforced`: a version that has learned what graders say of its own answers."""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context
from assay.candidates.spec import CandidateSpec, Sizes, Workload, prompted
from assay.config import Config


def estimate(config: Config, sizes: Sizes) -> Workload:
    """The supervised training where it starts from that, answers drawn, and updates by them."""
    own = config.fine_tune.reinforcement
    drawn = own.steps * own.prompts_per_step * own.group
    measured = (1 + own.steps // own.evaluate_every) * min(own.validation_rows, sizes.validation)
    passes = drawn * own.updates / max(1, sizes.train)
    before = 1.0 if own.start == "supervised" else 0.0
    from assay.train.auto import epochs  # of the supervised training, in which rows are counted

    counted = epochs(sizes.train) if config.fine_tune.epochs == "auto" else config.fine_tune.epochs
    return replace(
        prompted(config, sizes), trained=before + passes / counted, searched=drawn + measured
    )


SPEC = CandidateSpec(
    title="fine-tuned by a grader",
    explanation="A fine-tuned model draws answers of its own, and learns from what a grader says "
    "of them. Takes hours.",
    family="training",
    answers_from_rows=True,
    estimate=estimate,
)


def build(context: Context) -> Candidate:
    """Train versions, the best by validation reward kept, and measure them on validation."""
    from assay.candidates.shared.tuning import tune  # loads torch

    def agent_of(version: str) -> Agent:
        return context.chat_agent(model=f"version:{version}", system_prompt=context.training_prompt)

    own = replace(context, own_method=None).with_training(method="reinforcement", graded_rows=0)
    return tune(own, agent_of)
