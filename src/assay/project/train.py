"""Training alone: one version with the project's settings, or a search for better settings."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from assay.candidates.building import Context
from assay.candidates.shared.many_trainings import TrainingRequest, train_together
from assay.candidates.shared.training import TrainingSetup, train_version
from assay.config import CONFIG_FILE, FineTune
from assay.config.yaml_text import edit
from assay.errors import ConfigError, UsageError
from assay.evaluate.forgetting import Forgetting
from assay.evaluate.probe import forgetting_of
from assay.models.versions import load_version
from assay.place.opening import LazyWorkers
from assay.store.files import write_atomic
from assay.train import sweep as search
from assay.train.job import OnPoint, OnStep, StopWhen
from assay.train.methods import registry
from assay.train.methods.spec import MethodSpec
from assay.train.reinforce.figures import warnings_of
from assay.train.session import TrainResult
from assay.train.sweep import Outcome, Trial


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A version that was trained.

    Attributes:
        version: its id; `version:<id>` names it as a model.
        folder: where it is kept; None: in a bucket.
        settings: it was trained with, all of them numbers.
        forgetting: what it lost of its base's general ability.
        warnings: why its figures are not to be believed as they stand.
    """

    version: str
    folder: Path | None
    settings: dict[str, Any]
    result: TrainResult
    forgetting: Forgetting
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; losses in nats per trained token."""
        account = asdict(self.result)
        del account["adapter"], account["beside"]
        return {
            "version": self.version,
            "folder": None if self.folder is None else str(self.folder),
            "settings": self.settings,
            **account,
            "forgetting": self.forgetting.model_dump(mode="json"),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A finished search.

    Attributes:
        best: the finished trial with the smallest validation loss.
        diff: what it changes in assay.yaml, as a unified diff; empty when that has it already.
        written: whether assay.yaml was changed.
    """

    trials: tuple[Trial, ...]
    best: Trial
    diff: str
    written: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; losses in nats per trained token."""
        return {
            "trials": [asdict(tried) for tried in self.trials],
            "best": asdict(self.best),
            "diff": self.diff,
            "written": self.written,
        }


def with_method(context: Context, method: MethodSpec | None) -> Context:
    """The context with a training method that was handed over; None: the project's.

    Raises:
        UsageError: another method of that name is installed.
    """
    if method is None:
        return context
    installed = registry.specs().get(method.name)
    if installed is not None and installed is not method:
        raise UsageError(
            f"a training method {method.name} is installed already.", fix="Choose another name."
        )
    own = None if installed is method else method  # which no other process could find
    return replace(context.with_training(method=method.name), own_method=own)


def train(
    context: Context,
    on_point: OnPoint | None = None,
    on_step: OnStep | None = None,
    stop_when: StopWhen | None = None,
) -> TrainingResult:
    """Train with the project's settings, keep the version, see what it forgot."""
    id, result = train_version(context, on_point=on_point, on_step=on_step, stop_when=stop_when)
    version = load_version(context.store, id)
    return TrainingResult(
        version=version.id,
        folder=version.folder if context.store.bucket is None else None,
        settings=version.record.settings,
        result=result,
        forgetting=forgetting_of(version.id, context.bench.engines, context.progress),
        warnings=warnings_of(result.rewards, result.best_step, context.config.primary),
    )


def sweep(
    context: Context, root: Path, workers: LazyWorkers | None, *, trials: int, write: bool
) -> SearchResult:
    """Search around the project's settings; the best training is kept for `train` to find.

    The others leave nothing but their losses. No rows are graded: nobody is shown the score.

    Args:
        root: the project's folder.
        workers: that train several trials at once; None: one after the other.
    """
    if context.method.reinforces:
        raise ConfigError(
            "a search compares settings by their validation loss, which reinforcement has none of.",
            where=f"{CONFIG_FILE}, fine_tune.method",
            fix="Search with method: sft, then set method: reinforcement.",
        )
    context = context.with_training(graded_rows=0)
    prepared = TrainingSetup.of(context)
    start = prepared.settings
    folder = context.folder / prepared.name(context, start).replace("fine-tune", "sweep")

    def drop(settings: FineTune) -> None:
        """Failed or stopped early: nobody will go on with it."""
        shutil.rmtree(folder / prepared.name(context, settings), ignore_errors=True)

    def attempt(settings: FineTune, on_point: OnPoint) -> TrainResult:
        return prepared.train(context, settings, on_point, within=folder)

    def train_together_all(
        workers: LazyWorkers,
        tries: Sequence[tuple[FineTune, OnPoint]],
        ended: Callable[[int, Outcome], None],
    ) -> None:
        waiting = dict(enumerate(tries))
        while waiting:  # of equal ones, which have one folder, the first; the others find it done
            every = [*waiting.items()]
            first = {prepared.name(context, one): index for index, (one, _) in reversed(every)}
            now = sorted(first.values())
            requests = [TrainingRequest(prepared, context, *waiting.pop(index)) for index in now]
            tell = partial(_tell, ended, now)
            train_together(workers, requests, tell, within=folder)

    each = search.one_by_one(attempt) if workers is None else partial(train_together_all, workers)

    def train_all(
        tries: Sequence[tuple[FineTune, OnPoint]], ended: Callable[[int, Outcome], None]
    ) -> None:
        def end(index: int, outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                drop(tries[index][0])
            ended(index, outcome)

        each(tries, end)

    tried = search.sweep(
        train_all, start, folder, context.store, trials=trials, progress=context.progress
    )
    best = search.best(tried)
    _keep(folder, prepared.name(context, start.model_copy(update=dict(best.settings))), context)
    path = root / CONFIG_FILE
    before = path.read_text(encoding="utf-8")
    after = edit(before, {f"fine_tune.{name}": value for name, value in best.settings.items()})
    if write and after != before:
        write_atomic(path, after)
    return SearchResult(tuple(tried), best, _diff(before, after), write and after != before)


def _tell(
    ended: Callable[[int, Outcome], None], indices: Sequence[int], index: int, outcome: Outcome
) -> None:
    """Tell of one of those that were trained together, by its index among all."""
    ended(indices[index], outcome)


def _keep(folder: Path, best: str, context: Context) -> None:
    """Move the best training to where all trainings are; drop the others."""
    if (folder / best).exists() and not (context.folder / best).exists():
        os.replace(folder / best, context.folder / best)
    for other in folder.glob("fine-tune-*"):
        shutil.rmtree(other)


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        CONFIG_FILE,
        CONFIG_FILE,
        n=1,
    )
    return "".join(lines)
