"""`encoder`: the embedder trained on the examples, and a classifier over its vectors."""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.building import Candidate, Context, Stopwatch, as_curve
from assay.candidates.shared.heads import choose_head, embed, head_tokens
from assay.candidates.spec import LABELS, CandidateSpec, Sizes, Workload, prompted
from assay.config import Config
from assay.models.embed import get_embedder

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
        tunes_embedder=True,
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
    """Train the embedder, keep it, and fit a classifier over its vectors as `classifier` does."""
    from assay.models.tuned_encoder import open_embedder
    from assay.train.encoder.job import EncoderJob, EncoderSettings, learning_rate  # loads torch
    from assay.train.encoder.labels import Labels
    from assay.train.encoder.session import train_encoder

    watch = Stopwatch()
    base = get_embedder(context.config.classifier.embedder)
    settings = EncoderSettings(
        epochs(len(context.answered)),
        learning_rate=learning_rate(base.parameters),
        seed=context.config.fine_tune.seed,
    )
    rows = Labels(context.answered, context.judged)
    job = EncoderJob(base, rows, settings, context.folder, context.progress)
    result = train_encoder(job, context.store)
    tuned = open_embedder(result.name, context.store)
    before = watch.seconds()
    embed(context, tuned)
    chosen = choose_head(context, tuned)
    return replace(
        chosen,
        setup_seconds=result.seconds + watch.seconds() - before,
        curve=as_curve(result.points),
        best_step=result.best_step,
    )
