"""A search for the settings that train best, by the loss on validation.

    tried = sweep(attempt, FineTune(), Path(".assay/work/sweep-1"), trials=12)
    best(tried)

Learning rate, rank, epochs and rows per step are sought together by a tree-structured Parzen
estimator (Bergstra et al. 2011) around the settings at hand, which are the first trial. Successive
halving (Li et al. 2020) stops the worse half of the trials after a quarter of their epochs and
again after half of them (only then, where the shortest schedule has fewer than four). A trial is
held against the others at the same share of its own schedule: the learning rate of a short one
falls sooner, so that after equal epochs the short one would always look better.

The trials are in a SQLite file. What is tried next is a function of the seed, the trial's number
and the trials before it, and a training goes on from its checkpoint; so a search that was killed
ends as if it had not been.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout
from sqlalchemy import URL

from assay.config import FineTune
from assay.errors import ModelError, UsageError
from assay.progress import SILENT, Progress
from assay.train.checkpoints import Point
from assay.train.job import OnPoint
from assay.train.session import TrainResult
from assay.train.trials import check_installed

if TYPE_CHECKING:
    import optuna

STARTUP = 5
"""Trials that are drawn at random before the estimator has anything to go by."""
MOST_RANK = 512
State = Literal["finished", "stopped early", "failed", "unfinished"]

Attempt = Callable[[FineTune, OnPoint], TrainResult]
"""Trains with some settings; the same settings go on from where they were."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    Attributes:
        settings: the numbers sought, by their names in assay.yaml.
        loss: the best on validation while it ran, in nats; None before the first epoch's end.
        epochs_done: that were validated.
        error: why it failed.
    """

    number: int
    state: State
    settings: Mapping[str, float]
    loss: float | None
    epochs_done: int
    error: str | None = None


def best(tried: Sequence[Trial]) -> Trial:
    """The finished trial with the smallest loss.

    Raises:
        ModelError: none was finished.
    """
    finished = [one for one in tried if one.state == "finished" and one.loss is not None]
    if not finished:
        raise ModelError(
            "no trial of the search could be finished.",
            fix="Run `assay train` to see the error.",
        )
    return min(finished, key=lambda one: (one.loss, one.number))


def sweep(
    attempt: Attempt,
    start: FineTune,
    folder: Path,
    *,
    trials: int,
    progress: Progress = SILENT,
) -> list[Trial]:
    """Try settings until `trials` have been tried, those of an earlier call counted.

    Args:
        start: what is tried first, and what all settings that are not sought stay at.
        folder: of this search, which depends on everything but `trials`.

    Returns:
        All trials, in order.

    Raises:
        ConfigError: Optuna is not installed.
        UsageError: the same search runs in another process.
        KeyboardInterrupt: stopped by the user; the same call goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), progress.task("search", trials, "trials") as bar:
        study = _study(folder / "trials.db", start)
        bar.advance(_done(study))
        while _done(study) < trials:
            trial = _next(study, start)
            _try(study, trial, attempt, start)
            progress.say(_line(_tried(study)[trial.number]))
            bar.advance(1)
    return _tried(study)


def _try(study: optuna.Study, trial: optuna.Trial, attempt: Attempt, start: FineTune) -> None:
    """Run one trial to its end and write down how it ended."""
    import optuna

    settings = start.model_copy(update=_settings(trial.params))
    try:
        result = attempt(settings, _halving(trial, settings.epochs))
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except ModelError as error:  # a rate that explodes, a rank too large for the memory
        trial.set_user_attr("error", str(error))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, result.best_validation_loss)


def _halving(trial: optuna.Trial, epochs: int) -> OnPoint:
    """Reports the best loss so far after each epoch, and ends a trial that falls behind."""
    import optuna

    found: list[float] = []

    def report(point: Point, rates: Mapping[str, float]) -> None:
        if point.validation_loss is None:
            return
        found.append(point.validation_loss)
        share = round(100 * point.epoch / epochs)
        known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        if share not in known:
            trial.report(min(found), share)
        if share < 100 and trial.should_prune():
            raise optuna.TrialPruned

    return report


def _study(file: Path, start: FineTune) -> optuna.Study:
    check_installed()
    import optuna

    fewest = min(_around(start, "epochs"))
    quarter = 100 * max(1, fewest // 4) // fewest  # per cent; an epoch ends there in all trials
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = URL.create("sqlite", database=str(file)).render_as_string()
    return optuna.create_study(
        storage=url,
        study_name="fine-tune",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=quarter, reduction_factor=2),
    )


def _next(study: optuna.Study, start: FineTune) -> optuna.Trial:
    """The trial that was running when the search was killed, else a new one."""
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    number = running[0].number if running else len(study.trials)
    # A seed for each trial: one for all would start anew with every process, and a search that
    # goes on would draw what it has drawn before.
    digest = hashlib.sha256(f"{start.seed} {number}".encode()).digest()
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=STARTUP, multivariate=True, seed=int.from_bytes(digest[:4], "big")
    )
    if number == 0 and not running:
        study.enqueue_trial({name: getattr(start, name) for name in _sought(start)})
    trial = optuna.Trial(study, running[0]._trial_id) if running else study.ask()
    for name in _sought(start):  # what a killed trial has drawn stays
        if name == "learning_rate":
            rate = start.learning_rate
            trial.suggest_float(name, rate / 5, rate * 5, log=True)
        else:
            trial.suggest_categorical(name, _around(start, name))
    return trial


def _sought(start: FineTune) -> list[str]:
    """Names of the settings that are sought, all around those at hand."""
    names = ["learning_rate", "rank", "epochs", "rows_per_step"]
    return [name for name in names if start.adapter != "full" or name != "rank"]


def _around(start: FineTune, name: str) -> list[int]:
    """Half of a number, the number, and twice the number."""
    value: int = getattr(start, name)
    most = MOST_RANK if name == "rank" else 2 * value
    return sorted({max(1, value // 2), value, min(2 * value, most)})


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Drawn numbers as they are used: the rate with two digits, as a person would write it."""
    return dict(params) | {"learning_rate": float(f"{params['learning_rate']:.2g}")}


def _done(study: optuna.Study) -> int:
    return sum(one.state.is_finished() for one in study.get_trials(deepcopy=False))


def _tried(study: optuna.Study) -> list[Trial]:
    from optuna.trial import TrialState

    names: dict[TrialState, State] = {
        TrialState.COMPLETE: "finished",
        TrialState.PRUNED: "stopped early",
        TrialState.FAIL: "failed",
    }
    return [
        Trial(
            number=one.number,
            state=names.get(one.state, "unfinished"),
            settings=_settings(one.params) if one.params else {},
            loss=min(one.intermediate_values.values(), default=None),
            epochs_done=len(one.intermediate_values),
            error=one.user_attrs.get("error"),
        )
        for one in study.get_trials(deepcopy=False)
    ]


def _line(tried: Trial) -> str:
    settings = ", ".join(f"{name} {value:g}" for name, value in tried.settings.items())
    loss = "" if tried.loss is None else f", validation loss {tried.loss:.4f}"
    error = "" if tried.error is None else f": {tried.error}"
    return f"Trial {tried.number + 1} ({settings}){loss}, {tried.state}{error}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            "the same search runs in another process.", where=str(folder), fix="Wait for it."
        ) from None
    try:
        yield
    finally:
        lock.release()
