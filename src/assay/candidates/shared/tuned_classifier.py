"""A classifier over the vectors of an embedder that was trained on the same rows."""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.building import Candidate, Context, Stopwatch, as_curve
from assay.candidates.shared.heads import choose_head, embed
from assay.models.embed import Embedder, get_embedder
from assay.models.tuned_encoder import open_embedder
from assay.train.encoder.job import EncoderJob, EncoderSettings, learning_rate
from assay.train.encoder.objective import Objective
from assay.train.encoder.session import train_encoder


def build_tuned(
    context: Context, name: str, rows: Objective[Embedder], settings: EncoderSettings
) -> Candidate:
    """Train the embedder, keep it, and fit a classifier over its vectors as `classifier` does.

    Args:
        name: of the candidate that is built, for the progress.
        settings: its learning rate is that of an embedder as large as the starter; the seed is
            that of assay.yaml.

    Raises:
        DataError, ModelError: as `train_encoder`.
        KeyboardInterrupt: stopped by the user; the same call goes on from there.
    """
    watch = Stopwatch()
    base = get_embedder(context.config.classifier.embedder)
    own = replace(
        settings,
        learning_rate=learning_rate(base.parameters, settings.learning_rate),
        seed=context.config.fine_tune.seed,
    )
    job = EncoderJob(base, rows, own, context.folder, context.progress)
    result = train_encoder(job, context.store)
    tuned = open_embedder(result.name, context.store)
    before = watch.seconds()
    embed(context, tuned)
    chosen = choose_head(context, tuned, name)
    return replace(
        chosen,
        setup_seconds=result.seconds + watch.seconds() - before,
        curve=as_curve(result.points),
        best_step=result.best_step,
    )
