"""`encoder`: the embedder trained on the examples, and a classifier over its vectors."""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.building import Candidate, Context
from assay.candidates.shared.heads import head_tokens
from assay.candidates.spec import LABELS, CandidateSpec, Sizes, Workload, prompted
from assay.config import Config

MOST_EPOCHS = 10
ROWS_IN_ALL = 8_000
"""Rows that are trained on over all epochs, where one epoch has fewer."""


def epochs(rows: int) -> int:
    """Of a training with so many rows; it may end sooner."""
    return max(1, min(MOST_EPOCHS, ROWS_IN_ALL // max(1, rows)))


def estimate(config: Config, sizes: Sizes) -> Workload:
    """Before the training its rows are embedded, afterwards every row anew; a row that is trained
    on takes as long as three that are embedded."""
    trained = sizes.train + epochs(sizes.train) * (3 * sizes.train + sizes.validation)
    return replace(
        prompted(config, sizes),
        answered_by="classifier",
        embedded=trained * sizes.read_tokens + head_tokens(sizes),
        texts_per_step=16,
    )


SPEC = CandidateSpec(
    title="fine-tuned classifier",
    explanation="The embedder that turns texts into numbers is itself trained on your labels. "
    "Made in minutes, answers in milliseconds.",
    family="training",
    answers_from_rows=True,
    estimate=estimate,
    needs=(LABELS,),
    proposed=True,
)


def build(context: Context) -> Candidate:
    """Train the embedder on the labels, keep it, and fit a classifier over its vectors."""
    from assay.candidates.shared.tuned_classifier import build_tuned  # loads torch
    from assay.train.encoder.job import EncoderSettings
    from assay.train.encoder.labels import Labels

    rows = Labels(context.answered, context.judged)
    return build_tuned(context, "encoder", rows, EncoderSettings(epochs(len(context.answered))))
