"""Several trainings of a project at once, where `place` says so (`assay.train.many`).

with trainings(context) as found:
    found.run([Attempt(setup, context, settings, on_point), ...], ended)
train_ahead(contexts)     # whoever trains with these one after the other finds it done
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from assay.candidates.building import Context
from assay.candidates.shared.training import TrainingSetup
from assay.config import FineTune
from assay.models.load import LoadedModel
from assay.place.opening import open_workers
from assay.place.processes import threads_of_each
from assay.place.workers import Workers
from assay.train.job import OnPoint, TrainingJob
from assay.train.many import Ended, train_many
from assay.train.session import RESULT, TrainResult


@dataclass(frozen=True, slots=True)
class Attempt:
    """One training of several; the fields are what `TrainingSetup.train` takes."""

    setup: TrainingSetup
    context: Context
    settings: FineTune
    on_point: OnPoint | None = None


class Trainings:
    """Workers that train for a project, started when the first training needs one."""

    def __init__(self, context: Context, stack: ExitStack) -> None:
        self._place, self._progress = context.config.place, context.progress
        self._stack = stack
        self._workers: Workers | None = None

    def run(self, attempts: Sequence[Attempt], ended: Ended, *, within: Path | None = None) -> None:
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
                    beside=min(self._place.at_once, len(attempts)),
                )
                for own, one in zip(closing, attempts, strict=True)
            ]

            def end(place: int, outcome: TrainResult | Exception) -> None:
                if isinstance(outcome, Exception):
                    closing[place].__exit__(type(outcome), outcome, None)
                else:
                    closing[place].close()
                ended(place, outcome)

            train_many(jobs, self._started(jobs), end)

    def _started(self, jobs: Sequence[TrainingJob]) -> Workers:
        if self._workers is None:
            threads = threads_of_each(self._place.at_once, torch.get_num_threads())
            rows = max(len(job.train) + len(job.validation) for job in jobs)
            opened = open_workers(self._place, threads, rows, self._progress)
            self._workers = self._stack.enter_context(opened)
        return self._workers


@contextmanager
def trainings(context: Context) -> Iterator[Trainings]:
    """Workers for as long as the block lasts, of a context whose `place` has some."""
    with ExitStack() as stack:
        yield Trainings(context, stack)


def train_ahead(contexts: Sequence[Context]) -> None:
    """Train what has not been trained yet, where there are workers for it.

    Raises:
        AssayError: what the first one has raised that failed.
    """
    if len(contexts) < 2 or not contexts[0].config.place.at_once:
        return
    loaded: LoadedModel | None = None
    attempts = []
    for context in contexts:
        setup = TrainingSetup.of(context, loaded)
        loaded = setup.loaded
        if not (context.folder / setup.name(context, setup.settings) / RESULT).exists():
            attempts.append(Attempt(setup, context, setup.settings))
    failed: dict[int, Exception] = {}

    def ended(place: int, outcome: TrainResult | Exception) -> None:
        if isinstance(outcome, Exception):
            failed[place] = outcome

    if len(attempts) > 1:
        with trainings(contexts[0]) as found:
            found.run(attempts, ended)
    for place in sorted(failed):
        raise failed[place]
