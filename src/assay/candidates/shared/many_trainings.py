"""Several trainings of a project at once, where `place` says so (`assay.train.many`).

train_together(workers, [Attempt(setup, context, settings, on_point), ...], ended)
train_ahead(contexts)     # whoever trains with these one after the other finds it done
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from assay.candidates.building import Context
from assay.candidates.shared.training import TrainingSetup
from assay.config import FineTune
from assay.errors import ConfigError
from assay.models.load import LoadedModel
from assay.place.opening import LazyWorkers
from assay.train.job import OnPoint
from assay.train.many import Ended, check_workers, train_many
from assay.train.session import RESULT, TrainResult


@dataclass(frozen=True, slots=True)
class Attempt:
    """One training of several; the fields are what `TrainingSetup.train` takes."""

    setup: TrainingSetup
    context: Context
    settings: FineTune
    on_point: OnPoint | None = None


def train_together(
    workers: LazyWorkers,
    attempts: Sequence[Attempt],
    ended: Ended,
    *,
    within: Path | None = None,
) -> None:
    """Train them all, as many at once as there are workers.

    Args:
        ended: see `train_many`.
        within: see `TrainingSetup.train`.
    """
    with ExitStack() as trackers:
        closing = [trackers.enter_context(ExitStack()) for _ in attempts]
        jobs = [
            one.setup.job(
                one.context,
                one.settings,
                own.enter_context(one.setup.tracked(one.context, one.settings, one.on_point)),
                within=within,
                beside=workers.count,
            )
            for own, one in zip(closing, attempts, strict=True)
        ]

        def end(place: int, outcome: TrainResult | Exception) -> None:
            if isinstance(outcome, Exception):
                closing[place].__exit__(type(outcome), outcome, None)
            else:
                closing[place].close()
            ended(place, outcome)

        rows = max(len(job.train) + len(job.validation) for job in jobs)
        train_many(jobs, workers.to_train(rows), end)


def train_ahead(contexts: Sequence[Context]) -> None:
    """Train what has not been trained yet, where there are workers for it that can.

    Raises:
        AssayError: what the first one has raised that failed.
    """
    workers = contexts[0].bench.workers if len(contexts) > 1 else None
    if workers is None:
        return
    loaded: LoadedModel | None = None
    attempts = []
    for context in contexts:
        setup = TrainingSetup.of(context, loaded)
        loaded = setup.loaded
        try:
            check_workers(loaded, setup.settings, context.own_method)
        except ConfigError as error:
            said = f"Trained in this process, one version after the other: {error.what}"
            context.progress.say(said)
            return
        if not (context.folder / setup.name(context, setup.settings) / RESULT).exists():
            attempts.append(Attempt(setup, context, setup.settings))
    failed: dict[int, Exception] = {}

    def ended(place: int, outcome: TrainResult | Exception) -> None:
        if isinstance(outcome, Exception):
            failed[place] = outcome

    if len(attempts) > 1:
        train_together(workers, attempts, ended)
    for place in sorted(failed):
        raise failed[place]
