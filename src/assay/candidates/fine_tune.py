"""`fine-tune`: a LoRA adapter, the epoch with the best validation loss kept."""

from __future__ import annotations

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context
from assay.candidates.shared import training_work
from assay.candidates.spec import (
    DOCUMENTS_OF_TEXT,
    METHOD,
    ONE_PROCESS_OF_GRADERS,
    CandidateSpec,
    Sendings,
    Sizes,
    Workload,
)
from assay.config import Config


def estimate(config: Config, sizes: Sizes) -> Workload:
    """What it learns from is up to `fine_tune.method`."""
    if config.fine_tune.method == "reinforcement":
        return training_work.of_graders(config, sizes)
    if config.fine_tune.method == "text":
        return training_work.of_documents(config, sizes)
    return training_work.of_rows(config, sizes)


def _sends(config: Config) -> Sendings:
    if config.fine_tune.method == "reinforcement":
        return training_work.sends_of_graders(config)
    return training_work.sends_of_rows(config)


SPEC = CandidateSpec(
    title="fine-tuned model",
    explanation="The model's weights are trained on your examples. Takes longest to make.",
    family="training",
    answers_from_rows=True,
    version="fine-tune",
    needs=(METHOD, DOCUMENTS_OF_TEXT, ONE_PROCESS_OF_GRADERS),
    estimate=estimate,
    sends=_sends,
    proposed=True,
)


def build(context: Context) -> Candidate:
    """Train versions, stopped early by validation loss, and measure them on validation."""
    from assay.candidates.shared.tuning import tune  # loads torch

    def agent_of(version: str) -> Agent:
        return context.chat_agent(model=f"version:{version}", system_prompt=context.training_prompt)

    return tune(context, agent_of)
