"""`fine-tune`: a LoRA adapter, the epoch with the best validation loss kept."""

from __future__ import annotations

from dataclasses import replace

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
from assay.train.methods import registry


def estimate(config: Config, sizes: Sizes) -> Workload:
    """What it learns from is up to `fine_tune.method`."""
    if config.fine_tune.method == "reinforcement":
        return training_work.of_graders(config, sizes)
    if registry.learns_documents(config.fine_tune.method):
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
    from assay.candidates.shared.training_documents import about_kept_out  # loads torch
    from assay.candidates.shared.tuning import tune

    def agent_of(version: str) -> Agent:
        return context.chat_agent(model=f"version:{version}", system_prompt=context.training_prompt)

    made = tune(context, agent_of)
    if context.method.learns_from != "documents":
        return made
    return replace(made, warnings=(about_kept_out(context), *made.warnings))
