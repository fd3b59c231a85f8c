"""`distill`: a version trained on the recorded answers of another model, in place of the rows' own.

So both take part in one comparison: `fine-tune` has learned what stands in the rows, `distill` what
a model answered that is gone by now (`assay rescue record`).
"""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context
from assay.candidates.shared import training_work
from assay.candidates.spec import RECORDING, CandidateSpec, Sizes, Workload
from assay.config import Config
from assay.config.names import file_of
from assay.errors import AssayError
from assay.generate.recorded import input_sha256, read_recording

LEAST_LEARNED = 0.5
"""Share of the training rows: what has learned fewer is no measure of the teacher."""


def estimate(config: Config, sizes: Sizes) -> Workload:
    """As many rows are trained on as there are; nobody is asked any more."""
    return replace(training_work.of_rows(config, sizes), requests=())


SPEC = CandidateSpec(
    title="distilled model",
    explanation="The model's weights are trained on answers that another model has given. Takes "
    "longest to make.",
    family="training",
    answers_from_rows=True,
    needs=(RECORDING,),
    estimate=estimate,
)


def build(context: Context) -> Candidate:
    """Train versions on the recorded answers to training rows, and measure them on validation.

    Raises:
        AssayError: fewer than half of these have an answer that is fit to be learned.
        DataError: the file cannot be read.
    """
    from assay.candidates.shared.teacher_answers import why_unfit
    from assay.candidates.shared.tuning import tune  # loads torch

    name = context.config.recorded
    assert name is not None  # RECORDING
    file = file_of(name, context.bench.root)
    known = read_recording(file) if file.exists() else {}
    agent, answered, fit = context.chat_agent(model=name), 0, 0
    for example in context.train:
        if (found := known.get(input_sha256(example))) is not None:
            answered += 1
            fit += why_unfit(example, found.answer, agent) is None
    if fit < LEAST_LEARNED * len(context.train):
        raise AssayError(
            f"it learns the answers in {name}, which has {answered} to {len(context.train)} "
            f"training rows; {fit} are fit to be learned, and it takes half.",
            fix="Record them while the model is there: `assay rescue record --part train`.",
        )

    def agent_of(version: str) -> Agent:
        return context.chat_agent(model=f"version:{version}", system_prompt=context.training_prompt)

    own = context.with_training(method="sft", teacher=None, recorded=name, graded_rows=0)
    return tune(own, agent_of)
