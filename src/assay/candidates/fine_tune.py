"""`fine-tune`: a LoRA adapter, the epoch with the best validation loss kept."""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context
from assay.candidates.spec import METHOD, CandidateSpec, Sizes, Workload, asked_rows, prompted
from assay.config import Config


def estimate(config: Config, sizes: Sizes) -> Workload:
    """Every row of train is trained on; a teacher is asked all of them first."""
    requests = asked_rows(config.fine_tune.teacher, sizes.train, config, sizes)
    return replace(prompted(config, sizes), trained=1.0, requests=requests)


SPEC = CandidateSpec(
    title="fine-tuned model",
    explanation="The model's weights are trained on your examples. Takes longest to make.",
    family="training",
    answers_from_rows=True,
    version="fine-tune",
    needs=(METHOD,),
    estimate=estimate,
    sends=lambda config: [
        (model, ("train",)) for model in [config.fine_tune.teacher] if model is not None
    ],
    proposed=True,
)


def build(context: Context) -> Candidate:
    """Train versions, stopped early by validation loss, and measure them on validation."""
    from assay.candidates.shared.tuning import tune  # loads torch

    def agent_of(version: str) -> Agent:
        return context.chat_agent(model=f"version:{version}", system_prompt=context.training_prompt)

    return tune(context, agent_of)
