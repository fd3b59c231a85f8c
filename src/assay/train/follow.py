"""A further rank of a training, in another process: keeps step with rank 0, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.config import FineTune
from assay.place.processes import Follower
from assay.place.ranks import Ranks
from assay.train import adapters
from assay.train.checkpoints import Checkpoint
from assay.train.choices import Choices
from assay.train.estimate import check_memory
from assay.train.job import StepReport, TrainingJob
from assay.train.loop import Run
from assay.train.methods.identity import find_same
from assay.train.sequences import Unit
from assay.train.shared_base import SharedBase


@dataclass(frozen=True, slots=True)
class RankTask:
    """What another process needs to keep step: a job without what belongs to rank 0's machine.

    Attributes:
        base: that rank 0 has loaded.
        start: where the run goes on; None: at its beginning.
        counts_hits: whether rank 0 counts how often the first choice was right.
        method: sha256 of the code of the training method; None of Assay's own.
    """

    base: SharedBase
    train: Sequence[Unit]
    validation: Sequence[Unit]
    settings: FineTune
    choices: Choices
    start: Checkpoint | None
    counts_hits: bool
    method: str | None

    @classmethod
    def of(cls, job: TrainingJob, choices: Choices, start: Checkpoint | None) -> RankTask:
        """Of a job that rank 0 is about to begin."""
        return cls(
            SharedBase.of(job.loaded),
            job.train,
            job.validation,
            job.settings,
            choices,
            start,
            counts_hits=job.on_step is not None,
            method=job.method_sha256,
        )


def follower(task: RankTask) -> Follower:
    """Load the base, and return what trains with rank 0 to the end.

    Raises:
        ConfigError: another version of Assay, or of the training method, is installed here.
        ModelError: the base is not here, is another one, or does not fit into the memory.
    """
    settings, choices = task.settings, task.choices
    find_same(settings.method, task.method)
    loaded = task.base.load()
    check_memory(loaded.model, task.train, choices.settle(settings), choices.compute)
    job = TrainingJob(
        loaded,
        task.train,
        task.validation,
        settings,
        Path(),
        on_step=_told_by_rank_0 if task.counts_hits else None,
    )
    objective = job.spec.objective_of(settings, task.train)

    def follow(ranks: Ranks) -> None:
        with adapters.adapt(loaded, settings) as adapted, choices.apply(adapted):
            run = Run(job, adapted, "", choices, objective, ranks)
            if task.start is not None:
                run.go_to(task.start)
            run.to_the_end()

    return follow


def _told_by_rank_0(report: StepReport) -> None:
    """Hits are counted in every rank where somebody wants to know."""
