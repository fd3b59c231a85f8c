"""A search for the settings that train best, by the loss on validation.

    folder = store.folder / "work" / "sweep-1"
    tried = sweep(one_by_one(attempt), FineTune(), folder, store, trials=12)
    best(tried)

Learning rate, rank, epochs and rows per step are sought together by a tree-structured Parzen
estimator (Bergstra et al. 2011) around the settings at hand, which are the first trial. Successive
halving (Li et al. 2020) stops the worse half of the trials after a quarter of their epochs and
again after half of them (only then, where the shortest schedule has fewer than four). A trial is
held against the others at the same share of its own schedule: the learning rate of a short one
falls sooner, so that after equal epochs the short one would always look better.

Trials are drawn four at a time, from what the fours before have shown, and each is held against
those with a smaller number alone; so several can be trained at once (`TrainAll`) and the search
ends as if they had been trained one after the other.

The trials are in a SQLite file. What is tried next is a function of the seed, the trial's number
and the fours before it, and a training goes on from its checkpoint; so a search that was killed
ends as if it had not been.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import URL

from assay.config import FineTune
from assay.errors import ModelError, StoreError, UsageError
from assay.progress import SILENT, Progress
from assay.quantities import say_number
from assay.store.locks import LockHeldError, lock_for_long
from assay.store.store import Store
from assay.train.checkpoints import Point
from assay.train.job import OnPoint
from assay.train.session import TrainResult
from assay.train.trials import check_installed

if TYPE_CHECKING:
    import optuna

ROUND = 4
"""Trials that are drawn together; the first ones at random, but for the settings at hand."""
MOST_RANK = 512
GONE_S = 150.0
"""Longer than PostgreSQL keeps the locks of a machine that vanished."""
State = Literal["finished", "stopped early", "failed", "unfinished"]

Attempt = Callable[[FineTune, OnPoint], TrainResult]
"""Trains with some settings; the same settings go on from where they were."""
Outcome = TrainResult | Exception
TrainAll = Callable[[Sequence[tuple[FineTune, OnPoint]], Callable[[int, Outcome], None]], None]
"""Trains with several settings, and tells of each by its index how it has ended: with what it or
its listener has raised, or well."""


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
    train_all: TrainAll,
    start: FineTune,
    folder: Path,
    store: Store,
    *,
    trials: int,
    progress: Progress = SILENT,
) -> list[Trial]:
    """Try settings until `trials` have been tried, those of an earlier call counted.

    Args:
        train_all: trains what has been drawn together, several at once or `one_by_one`.
        start: what is tried first, and what all settings that are not sought stay at.
        folder: of this search, which depends on everything but `trials`.
        store: the state that the folder is in.

    Returns:
        All trials, in order.

    Raises:
        ConfigError: Optuna is not installed.
        UsageError: the same search runs in another process, on whichever machine.
        StoreError: the folder of the state is gone, or the database away at the beginning.
        KeyboardInterrupt: stopped by the user; the same call goes on.
    """
    with _alone(folder, store, progress), progress.task("search", trials, "trials") as bar:
        study = _study(folder / "trials.db", start)
        bar.advance(_done(study))

        def ended(number: int) -> None:
            progress.say(_line(_tried(study)[number]))
            bar.advance(1)

        while drawn := _round(study, start, trials):
            settings = [start.model_copy(update=_settings(trial.params)) for trial in drawn]
            held = _Halving(study, drawn, [one.epochs for one in settings], ended)
            train_all([*zip(settings, held.listeners(), strict=True)], held.end)
    every = _tried(study)
    return [one for one in every if one.number < trials or one.state != "unfinished"]


def one_by_one(attempt: Attempt) -> TrainAll:
    """Trains with each settings once those before them have ended; it tells of every exception."""

    def train_all(
        tries: Sequence[tuple[FineTune, OnPoint]], ended: Callable[[int, Outcome], None]
    ) -> None:
        for index, (settings, on_point) in enumerate(tries):
            outcome: Outcome
            try:
                outcome = attempt(settings, on_point)
            except Exception as error:  # who is told raises what is no fault of the settings
                outcome = error
            ended(index, outcome)

    return train_all


class _Halving:
    """The trials of a round, held against each other in the order of their numbers.

    What a trial shows after an epoch counts once every trial before it has shown as much of its own
    schedule, or has ended; until then it goes on, whoever is faster.

    Args:
        epochs: of each trial.
        ended: called with the number of each trial once it is written down.
    """

    def __init__(
        self,
        study: optuna.Study,
        trials: Sequence[optuna.Trial],
        epochs: Sequence[int],
        ended: Callable[[int], None],
    ) -> None:
        self._study, self._trials, self._epochs, self._told = study, trials, epochs, ended
        self._shown: list[deque[tuple[int, float]]] = [deque() for _ in trials]
        self._passed = [0.0 for _ in trials]  # per cent of the schedule; infinite: written down
        self._ended: dict[int, Outcome] = {}

    def listeners(self) -> list[OnPoint]:
        """For each trial, what hears the best loss so far, and ends it once it falls behind."""
        return [partial(self._hear, index, []) for index in range(len(self._trials))]

    def end(self, index: int, outcome: Outcome) -> None:
        """Write down how a training has ended, once its turn has come.

        Raises:
            Exception: it has ended by one that is no fault of its settings.
        """
        import optuna

        if not isinstance(outcome, (TrainResult, ModelError, optuna.TrialPruned)):
            raise outcome
        self._ended[index] = outcome
        self._settle()

    def _hear(
        self, index: int, found: list[float], point: Point, rates: Mapping[str, float]
    ) -> None:
        import optuna

        if point.validation_loss is not None:
            found.append(point.validation_loss)
            share = round(100 * point.epoch / self._epochs[index])
            self._shown[index].append((share, min(found)))
            self._settle()
        if math.isinf(self._passed[index]):
            raise optuna.TrialPruned

    def _settle(self) -> None:
        for index, shown in enumerate(self._shown):
            before = min(self._passed[:index], default=math.inf)
            while shown and shown[0][0] <= before and not math.isinf(self._passed[index]):
                self._judge(index, *shown.popleft())
            if index in self._ended and not shown and not math.isinf(self._passed[index]):
                self._write(index, self._ended[index])

    def _judge(self, index: int, share: int, loss: float) -> None:
        import optuna

        trial = self._trials[index]
        known = self._study.get_trials(deepcopy=False)[trial.number].intermediate_values
        if share not in known:
            trial.report(loss, share)
        self._passed[index] = max(share, self._passed[index])  # told again by one that goes on
        if share < 100 and trial.should_prune():
            self._write(index, optuna.TrialPruned())

    def _write(self, index: int, outcome: Outcome) -> None:
        import optuna

        trial, states = self._trials[index], optuna.trial.TrialState
        if isinstance(outcome, TrainResult):
            self._study.tell(trial, outcome.best_validation_loss)
        elif isinstance(outcome, optuna.TrialPruned):
            self._study.tell(trial, state=states.PRUNED)
        else:  # a rate that explodes, a rank too large for the memory
            trial.set_user_attr("error", str(outcome))
            self._study.tell(trial, state=states.FAIL)
        self._passed[index] = math.inf
        self._told(trial.number)


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


def _round(study: optuna.Study, start: FineTune, trials: int) -> list[optuna.Trial]:
    """Trials that have been drawn and not ended, of those below `trials`; of none, a new round.

    A round is drawn whole before one of it is trained, so that it depends on those before it alone,
    wherever a search was killed and however many trials it was asked for.
    """
    import optuna

    known = study.get_trials(deepcopy=False)
    running = [one for one in known if one.state == optuna.trial.TrialState.RUNNING]
    drawn = [_draw(study, start, one.number, one) for one in running]
    if len(known) % ROUND or (not running and len(known) < trials):
        end = len(known) - len(known) % ROUND + ROUND
        drawn += [_draw(study, start, number) for number in range(len(known), end)]
    return [trial for trial in drawn if trial.number < trials]


def _draw(
    study: optuna.Study,
    start: FineTune,
    number: int,
    running: optuna.trial.FrozenTrial | None = None,
) -> optuna.Trial:
    """A new trial, or one that was drawn before."""
    import optuna

    # A seed for each trial: one for all would start anew with every process, and a search that
    # goes on would draw what it has drawn before.
    digest = hashlib.sha256(f"{start.seed} {number}".encode()).digest()
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=ROUND, multivariate=True, seed=int.from_bytes(digest[:4], "big")
    )
    if number == 0 and running is None:
        study.enqueue_trial({name: getattr(start, name) for name in _sought(start)})
    trial = study.ask() if running is None else optuna.Trial(study, running._trial_id)
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
    settings = ", ".join(f"{name} {say_number(value)}" for name, value in tried.settings.items())
    loss = "" if tried.loss is None else f", validation loss {tried.loss:.4f}"
    error = "" if tried.error is None else f": {tried.error}"
    return f"Trial {tried.number + 1} ({settings}){loss}, {tried.state}{error}"


@contextmanager
def _alone(folder: Path, store: Store, progress: Progress) -> Iterator[None]:
    """Until the block ends, no other process does the same search; its folder is made.

    Where the database is away within the hours that it takes, servers with folders of their own may
    do it twice; its result stands.
    """

    def tell_lost() -> None:
        with suppress(StoreError):  # a job keeps the line in the database, which may be away still
            progress.say(
                "The database was away during the search: a server with another folder may have "
                "begun the same one. What was found here is complete."
            )

    name = (folder / "lock").relative_to(store.folder).as_posix()
    lock = partial(lock_for_long, store, name, lost=tell_lost)
    with ExitStack() as held:
        try:
            try:
                held.enter_context(lock())
            except LockHeldError:
                if store.engine.dialect.name == "sqlite":
                    raise
                progress.say(
                    "The same search runs in another process, or its machine has vanished. "
                    f"Waiting up to {GONE_S:.0f} s for it to end."
                )
                held.enter_context(lock(within=GONE_S))
        except LockHeldError:
            raise UsageError(
                "the same search runs in another process.", where=str(folder), fix="Wait for it."
            ) from None
        yield
