"""`encoder-pairs`: the embedder trained on pairs of examples, and a classifier over its vectors.

This is SetFit (Tunstall et al. 2022, arXiv:2209.11055); each pair is trained on once.
"""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.building import Candidate, Context
from assay.candidates.shared.heads import head_tokens
from assay.candidates.spec import LABELS, CandidateSpec, Sizes, Workload, prompted
from assay.config import Config

MOST_EACH = 20
"""Training rows of either kind that a row is put beside, as by SetFit."""
MOST_PAIRS = 25_000
"""At most, or 2 a row if that is more: 625 rows stand beside 20 of either kind, 6,250 beside 2."""
JUDGED_EACH = 5
EVALUATIONS = 4
LEARNING_RATE = 2e-5
"""SetFit's own."""


def partners(rows: int, most_pairs: int = MOST_PAIRS) -> int:
    """How many training rows of either kind each of so many rows is put beside."""
    return max(1, min(MOST_EACH, most_pairs // (2 * max(1, rows))))


def estimate(config: Config, sizes: Sizes) -> Workload:
    """A pair is two texts; one that is trained on takes as long as three that are embedded."""
    pairs = 2 * sizes.train * partners(sizes.train)
    judged = EVALUATIONS * 2 * sizes.validation * JUDGED_EACH
    return replace(
        prompted(config, sizes),
        answered_by="classifier",
        embedded=2 * (3 * pairs + judged) * sizes.read_tokens + head_tokens(sizes),
        texts_per_step=32,
    )


SPEC = CandidateSpec(
    title="fine-tuned classifier, by pairs",
    explanation="The embedder that turns texts into numbers is itself trained on pairs of your "
    "rows, to tell pairs of one label from pairs of two labels (SetFit). Made in minutes to an "
    "hour, answers in milliseconds.",
    family="training",
    answers_from_rows=True,
    estimate=estimate,
    needs=(LABELS,),
)


def build(context: Context) -> Candidate:
    """Train the embedder on pairs, keep it, and fit a classifier over its vectors."""
    from assay.candidates.shared.tuned_classifier import build_tuned  # loads torch
    from assay.train.encoder.job import EncoderSettings
    from assay.train.encoder.label_pairs import LabelPairs

    rows = LabelPairs(
        context.answered,
        context.judged,
        partners(len(context.answered)),
        JUDGED_EACH,
        context.config.fine_tune.seed,
    )
    settings = EncoderSettings(1, EVALUATIONS, learning_rate=LEARNING_RATE)
    return build_tuned(context, "encoder-pairs", rows, settings)
