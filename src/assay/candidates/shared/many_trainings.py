"""Several trainings of a project at once, where `place` says so (`assay.train.many`).

train_together(workers, [TrainingRequest(setup, context, settings, on_point), ...], ended)
train_ahead(contexts)     # whoever trains with these one after the other finds it done
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assay.candidates.building import Context
from assay.candidates.shared.training import TrainingSetup
from assay.config import FineTune
from assay.errors import ConfigError
from assay.models.load import LoadedModel
from assay.place.opening import LazyWorkers
from assay.progress import Progress
from assay.train.job import OnPoint
from assay.train.many import OnEnd, check_device, check_settings, train_many
from assay.train.session import RESULT, TrainResult

_HERE = "Trained in this process, one version after the other: {why}"


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One training of several; the fields are what `TrainingSetup.train` takes."""

    setup: TrainingSetup
    context: Context
    settings: FineTune
    on_point: OnPoint | None = None


def train_together(
    workers: LazyWorkers,
    requests: Sequence[TrainingRequest],
    ended: OnEnd,
    *,
    within: Path | None = None,
) -> None:
    """Train them all, as many at once as there are workers.

    Args:
        ended: see `train_many`.
        within: see `TrainingSetup.train`.
    """
    with ExitStack() as trackers:
        closing = [trackers.enter_context(ExitStack()) for _ in requests]
        jobs = [
            one.setup.job(
                one.context,
                one.settings,
                own.enter_context(one.setup.track(one.context, one.settings, one.on_point)),
                within=within,
                beside=workers.count,
            )
            for own, one in zip(closing, requests, strict=True)
        ]

        def end(index: int, outcome: TrainResult | Exception) -> None:
            if isinstance(outcome, Exception):
                closing[index].__exit__(type(outcome), outcome, None)
            else:
                closing[index].close()
            ended(index, outcome)

        rows = max(len(job.train) + len(job.validation) for job in jobs)
        documents = any(job.learns_documents for job in jobs)
        train_many(jobs, workers.to_train(rows, documents=documents), end)


def train_ahead(contexts: Sequence[Context]) -> None:
    """Train what has not been trained yet, where there are workers for it that can.

    Raises:
        AssayError: what the first one has raised that failed.
    """
    workers = contexts[0].bench.workers if len(contexts) > 1 else None
    if workers is None:
        return
    first = contexts[0]
    if first.documents_first:
        first.progress.say(_HERE.format(why="each goes on from one that has learned documents."))
        return
    if not _can(partial(check_settings, first.config.fine_tune, first.own_method), first.progress):
        return
    loaded: LoadedModel | None = None
    requests = []
    for context in contexts:
        setup = TrainingSetup.of(context, loaded)
        if loaded is None and not _can(partial(check_device, setup.loaded), first.progress):
            return
        loaded = setup.loaded
        if not (context.folder / setup.name(context, setup.settings) / RESULT).exists():
            requests.append(TrainingRequest(setup, context, setup.settings))
    failed: dict[int, Exception] = {}

    def ended(index: int, outcome: TrainResult | Exception) -> None:
        if isinstance(outcome, Exception):
            failed[index] = outcome

    if len(requests) > 1:
        train_together(workers, requests, ended)
    for index in sorted(failed):
        raise failed[index]


def _can(check: Callable[[], None], progress: Progress) -> bool:
    """Whether workers can train it; why they cannot is said."""
    try:
        check()
    except ConfigError as error:
        progress.say(_HERE.format(why=error.what))
        return False
    return True
