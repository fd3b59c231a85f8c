"""The search for settings, on trainings that are only formulas."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from tests.store.test_locks import cut
from tests.train.test_session import Watcher

from assay.config import FineTune
from assay.errors import ConfigError, ModelError, StoreError, UsageError
from assay.store.store import Store
from assay.train import sweep as search
from assay.train.checkpoints import Point
from assay.train.job import OnPoint
from assay.train.session import TrainResult
from assay.train.sweep import Trial, best

START = FineTune(learning_rate=1e-3, rank=16, epochs=4, rows_per_step=8)


def quality(settings: FineTune) -> float:
    """A loss whose smallest value is at a rate of 3e-3, rank 32 and steps of 4 rows."""
    return (
        0.1
        + math.log10(settings.learning_rate / 3e-3) ** 2
        + 0.05 * abs(math.log2(settings.rank / 32))
        + 0.05 * abs(math.log2(settings.rows_per_step / 4))
    )


class Training:
    """Stands for the trainer: the loss falls from 3 to `final(settings)` along the schedule."""

    def __init__(self, final: Callable[[FineTune], float] = quality) -> None:
        self.final = final
        self.epochs: list[tuple[FineTune, int]] = []
        self.after: Callable[[int], None] = lambda epochs: None

    def __call__(self, settings: FineTune, observe: OnPoint) -> TrainResult:
        last = self.final(settings)
        for epoch in range(1, settings.epochs + 1):
            self.epochs.append((settings, epoch))
            self.after(len(self.epochs))
            loss = 3 + (last - 3) * epoch / settings.epochs
            observe(Point(10 * epoch, float(epoch), loss), {"tokens_per_s": 1.0})
            observe(Point(10 * epoch, float(epoch), loss, loss), {})
        return TrainResult(Path("adapter"), (), 1, last, 1, 1.0, 1, 1, 1.0, 1, "float32", 1, False)


def sweep(training: Training, start: FineTune, folder: Path, **given: Any) -> list[Trial]:
    store = given.pop("store", None) or Store(folder)
    return search.sweep(search.one_by_one(training), start, folder, store, **given)


def test_it_starts_with_the_settings_at_hand_and_finds_better_ones(tmp_path: Path) -> None:
    training = Training()
    tried = sweep(training, START, tmp_path, trials=16)
    assert [one.number for one in tried] == list(range(16))
    first = tried[0]
    assert first.settings == {"learning_rate": 1e-3, "rank": 16, "epochs": 4, "rows_per_step": 8}
    assert first.loss == pytest.approx(quality(START))
    found = best(tried)
    assert found.loss is not None
    assert first.loss is not None
    assert found.loss < first.loss - 0.1
    assert all(2e-4 <= one.settings["learning_rate"] <= 5e-3 for one in tried)
    assert {one.settings["rank"] for one in tried} <= {8, 16, 32}
    assert {one.settings["epochs"] for one in tried} <= {2, 4, 8}


def test_what_is_not_sought_stays(tmp_path: Path) -> None:
    training = Training(lambda settings: 1.0)
    start = START.model_copy(update={"adapter": "full", "max_tokens": 77})
    tried = sweep(training, start, tmp_path, trials=4)
    assert {settings.max_tokens for settings, _ in training.epochs} == {77}
    assert {settings.rank for settings, _ in training.epochs} == {16}
    assert all("rank" not in one.settings for one in tried)


def test_the_worse_half_is_stopped_early(tmp_path: Path) -> None:
    training = Training()
    start = START.model_copy(update={"epochs": 8})
    tried = sweep(training, start, tmp_path, trials=12)
    stopped = [one for one in tried if one.state == "stopped early"]
    assert 4 <= len(stopped) <= 9
    assert all(one.epochs_done < one.settings["epochs"] for one in stopped)
    assert len(training.epochs) < 0.75 * sum(one.settings["epochs"] for one in tried)
    finished = [one.loss for one in tried if one.state == "finished"]
    assert min(finished) == best(tried).loss


def test_a_long_schedule_is_not_held_against_a_short_one_at_the_same_epoch(
    tmp_path: Path,
) -> None:
    """More epochs end better here, though after any epoch the longer schedule is behind."""
    training = Training(lambda settings: 1 / settings.epochs)
    tried = sweep(training, START, tmp_path, trials=12)
    assert best(tried).settings["epochs"] == 8
    assert all(one.state == "finished" for one in tried if one.settings["epochs"] == 8)


def killed_at(training: Training, folder: Path, trials: int, epochs: int) -> None:
    """Run the search in a process of its own that is killed after so many epochs."""
    child = os.fork()
    if child == 0:
        try:
            training.after = lambda done: os.kill(os.getpid(), 9) if done == epochs else None
            sweep(training, START, folder, trials=trials)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = sweep(Training(), START, tmp_path / "whole", trials=12)
    for epochs in (2, 9, 5, 1):
        killed_at(Training(), tmp_path / "killed", 12, epochs)
    training = Training()
    assert sweep(training, START, tmp_path / "killed", trials=12) == whole
    assert len({tuple(sorted(one.settings.items())) for one in whole}) == 12


def test_a_finished_search_tries_nothing_and_more_trials_go_on(tmp_path: Path) -> None:
    first = sweep(Training(), START, tmp_path, trials=5)
    training = Training()
    assert sweep(training, START, tmp_path, trials=5) == first
    assert training.epochs == []
    more = sweep(training, START, tmp_path, trials=7)
    assert more[:5] == first
    assert len(more) == 7
    assert more == sweep(Training(), START, tmp_path / "whole", trials=7)


def test_a_trial_that_fails_is_told_and_the_search_goes_on(tmp_path: Path) -> None:
    def explodes(settings: FineTune) -> float:
        if settings.learning_rate > 1e-3:
            raise ModelError("the loss is no longer a finite number.")
        return quality(settings)

    watcher = Watcher()
    tried = sweep(Training(explodes), START, tmp_path, trials=8, progress=watcher)
    failed = [one for one in tried if one.settings["learning_rate"] > 1e-3]
    assert failed
    assert all((one.state, one.loss) == ("failed", None) for one in failed)
    assert best(tried).settings["learning_rate"] <= 1e-3
    assert len(watcher.lines) == 8
    assert sum("failed: the loss is no longer" in line for line in watcher.lines) == len(failed)


def test_a_search_without_a_finished_trial_has_no_best() -> None:
    with pytest.raises(ModelError, match="no trial"):
        best([Trial(0, "failed", {}, None, 0), Trial(1, "stopped early", {}, 0.1, 1)])


def test_ctrl_c_ends_the_search_and_the_trial_goes_on(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    training = Training()
    training.after = stop
    with pytest.raises(KeyboardInterrupt):
        sweep(training, START, tmp_path, trials=2)
    tried = sweep(Training(), START, tmp_path, trials=2)
    assert tried == sweep(Training(), START, tmp_path / "whole", trials=2)


def test_two_at_once_are_refused(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on two machines that share a database of PostgreSQL, each with a folder of its own."""
    monkeypatch.setattr(search, "GONE_S", 0)
    there = tmp_path / ("there" if database.startswith("postgresql") else "here")
    one, two = Store(tmp_path / "here", database), Store(there, database)
    refused = list[object]()

    def begin_another(_: int) -> None:
        if not refused:
            with pytest.raises(UsageError, match="the same search runs in another") as told:
                sweep(Training(), START, two.folder / "work" / "sweep", store=two, trials=2)
            refused.append(told)
            name = two.folder / "work" / "other"
            assert len(sweep(Training(), START, name, store=two, trials=1)) == 1

    training = Training()
    training.after = begin_another
    tried = sweep(training, START, one.folder / "work" / "sweep", store=one, trials=2)
    assert refused
    assert sweep(Training(), START, two.folder / "work" / "sweep", store=two, trials=2) == tried


def test_a_search_waits_until_the_lock_of_a_machine_that_vanished_ends(
    empty_postgres: str, tmp_path: Path
) -> None:
    one, two = (Store(tmp_path / name, empty_postgres) for name in ("one", "two"))
    with ExitStack() as held:
        held.enter_context(one.lock("work/sweep/lock"))

        class Server(Watcher):
            def say(self, line: str) -> None:
                super().say(line)
                Timer(0.5, held.close).start()

        watcher = Server()
        folder = two.folder / "work" / "sweep"
        assert sweep(Training(), START, folder, store=two, trials=1, progress=watcher)
    assert "Waiting up to 150 s for it to end" in watcher.lines[0]


def test_a_restart_of_the_database_costs_a_search_nothing(
    empty_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a second one begin in its folder meanwhile."""
    monkeypatch.setattr(search, "GONE_S", 0)
    one, two = (Store(tmp_path / "here", empty_postgres) for _ in range(2))
    folder, watcher, training = one.folder / "work" / "sweep", Watcher(), Training()

    def restart(epochs: int) -> None:
        if epochs == 1:
            cut(two)
            with pytest.raises(UsageError, match="the same search runs in another"):
                sweep(Training(), START, folder, store=two, trials=2)

    training.after = restart
    tried = sweep(training, START, folder, store=one, trials=2, progress=watcher)
    assert "was away during the search" in watcher.lines[-1]
    assert tried == sweep(Training(), START, tmp_path / "whole", trials=2)


def test_a_folder_that_was_moved_is_not_made_anew(database: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "here", database)
    store.folder.rename(tmp_path / "there")
    with pytest.raises(StoreError, match="moved or removed"):
        sweep(Training(), START, store.folder / "work" / "sweep", store=store, trials=1)
    assert not store.folder.exists()


def test_without_optuna_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'assay\[sweep\]'"):
        sweep(Training(), START, tmp_path, trials=2)


def test_the_highest_rank_is_not_exceeded(tmp_path: Path) -> None:
    seen: list[Any] = []
    start = START.model_copy(update={"rank": 512, "epochs": 1})
    sweep(Training(lambda s: float(seen.append(s.rank) or 1)), start, tmp_path, trials=8)
    assert set(seen) == {256, 512}
