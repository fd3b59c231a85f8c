"""What is told of a comparison is corrected while it runs, and what it took is learned from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from assay.progress import SILENT, Task
from assay.project import forecast as module
from assay.project.estimate import Estimate, Pace, Stage
from assay.project.forecast import Forecast, left_of, measure_pace, pace_of_share

STAGES = (
    Stage("start", "start and report", "other", 10.0),
    Stage("build", "prompt", "answers", 20.0),
    Stage("build", "fine-tune", "training", 100.0, training_seconds=100.0),
    Stage("speed", "prompt", "answers", 10.0),
    Stage("holdout", "prompt", "answers", 30.0),
    Stage("holdout", "fine-tune", "answers", 30.0),
)
TOLD = Estimate(STAGES, Pace(answers=2.0), 0.0, None, None, 100, 0.1)


class Heard:
    """A progress that keeps what is said, and a clock that is turned by hand."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shares: list[float] = []
        self.seconds = 0.0

    def clock(self) -> float:
        return self.seconds

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        with SILENT.task(label, total, unit) as task:
            yield task

    def say(self, line: str) -> None:
        self.lines.append(line)

    def set_share(self, share: float) -> None:
        self.shares.append(share)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def go(forecast: Forecast, heard: Heard, slower: float) -> None:
    """Every stage takes so many times what was told."""
    for stage in STAGES:
        if stage.doing != "start":
            forecast.stage(stage.doing, stage.candidate)
        heard.seconds += slower * stage.seconds
        forecast.stage(stage.doing, "baseline-majority")  # takes no time, and was not told of
    forecast.stage("end", "")


def test_what_comes_as_told_is_not_spoken_of(heard: Heard) -> None:
    forecast = Forecast(heard, TOLD, heard.clock)
    go(forecast, heard, 1.1)
    assert heard.lines == []
    assert forecast.pace().answers == pytest.approx(2 * 1.1, rel=0.05)


def test_checkpoints_go_to_whoever_keeps_them(heard: Heard) -> None:
    class Keeper(Heard):
        def bring_run(self, folder: Path) -> None:
            self.lines.append(f"bring {folder}")

        def keep_run(
            self, folder: Path, files: Mapping[str, Path], *, is_left: Callable[[], bool]
        ) -> None:
            self.lines.append(f"keep {folder} {files} {is_left()}")

    keeper = Keeper()
    for inner in (keeper, heard):
        forecast = Forecast(inner, TOLD)
        forecast.bring_run(Path("run"))
        forecast.keep_run(Path("run"), {}, is_left=lambda: True)
    assert (keeper.lines, heard.lines) == (["bring run", "keep run {} True"], [])


def test_a_correction_that_reads_as_before_is_not_told(heard: Heard) -> None:
    stages = (
        Stage("start", "start and report", "other", 0.0),
        Stage("build", "prompt", "answers", 20.0),
        Stage("holdout", "prompt", "answers", 200.0),
    )
    forecast = Forecast(heard, replace(TOLD, stages=stages), heard.clock)
    forecast.stage("build", "prompt")
    heard.seconds = 11.0
    forecast.stage("holdout", "prompt")  # 157 seconds are left, not 209: both are about 3 minutes
    assert heard.lines == []


@pytest.mark.parametrize(("slower", "word"), [(2.0, "Slower"), (0.5, "Faster")])
def test_what_was_told_wrongly_is_corrected_early_and_learned(
    heard: Heard, slower: float, word: str
) -> None:
    forecast = Forecast(heard, TOLD, heard.clock)
    go(forecast, heard, slower)
    assert heard.lines[0].startswith(f"{word} than estimated: about ")
    assert 1 <= len(heard.lines) <= 3
    assert all(0 <= share <= 1 for share in heard.shares)
    assert heard.shares[-1] == 1.0
    learned = forecast.pace()
    assert learned.answers == pytest.approx(2 * slower, rel=0.2)
    assert learned.training == pytest.approx(slower, rel=0.2)


def test_the_steps_of_a_training_tell_how_long_the_rest_takes(heard: Heard) -> None:
    forecast = Forecast(heard, TOLD, heard.clock)
    heard.seconds = 10.0
    forecast.stage("build", "prompt")
    heard.seconds = 30.0
    forecast.stage("build", "fine-tune")
    with forecast.task("training", 50, "steps") as bar:
        for _ in range(4):
            heard.seconds += 6.0
            bar.advance()
    # 300 seconds instead of 100: told long before they are over.
    assert len(heard.lines) == 1
    assert heard.lines[0].startswith("Slower than estimated: about 6 min left instead of 2 min.")


SEEDS = (
    Stage("start", "start and report", "other", 10.0),
    Stage("build", "fine-tune", "training", 360.0, training_seconds=100.0),
    Stage("holdout", "fine-tune", "answers", 30.0),
)


def work(
    forecast: Forecast, heard: Heard, label: str, seconds: float, first: int = 0, last: int = 50
) -> None:
    """A task of 50 steps that takes so long, of which an earlier run did the first."""
    with forecast.task(label, 50, "steps") as bar:
        bar.advance(first)
        for _ in range(first, last):
            heard.seconds += seconds / 50
            bar.advance()


@pytest.mark.parametrize(("slower", "words"), [(1.0, []), (2.0, ["Slower"]), (0.5, ["Faster"])])
def test_a_training_says_how_fast_all_seeds_are_and_does_not_stand_for_them(
    heard: Heard, slower: float, words: list[str]
) -> None:
    forecast = Forecast(heard, replace(TOLD, stages=SEEDS), heard.clock)
    heard.seconds = 10.0
    forecast.stage("build", "fine-tune")
    for _ in range(3):
        work(forecast, heard, "training", slower * 100.0)
        work(forecast, heard, "answering", slower * 20.0)
    forecast.stage("holdout", "fine-tune")
    heard.seconds += slower * 30.0
    forecast.stage("end", "")
    assert [line.split()[0] for line in heard.lines] == words


def test_trainings_that_end_early_are_expected_to_go_on_doing_so(heard: Heard) -> None:
    forecast = Forecast(heard, replace(TOLD, stages=SEEDS), heard.clock)
    heard.seconds = 10.0
    forecast.stage("build", "fine-tune")
    work(forecast, heard, "training", 100.0, last=20)
    work(forecast, heard, "answering", 20.0)
    assert len(heard.lines) == 1
    assert heard.lines[0].startswith("Faster than estimated: about 2 min left instead of 6 min.")


def test_of_a_training_without_a_told_time_the_rest_is_the_least_that_is_to_come(
    heard: Heard,
) -> None:
    """`rag-tuned` trains twice, then answers; `encoder` trains once."""
    stages = (
        SEEDS[0],
        Stage("build", "rag-tuned", "answers", 300.0),
        Stage("build", "encoder", "other", 60.0),
    )
    forecast = Forecast(heard, replace(TOLD, stages=stages), heard.clock)
    heard.seconds = 10.0
    forecast.stage("build", "rag-tuned")
    work(forecast, heard, "training", 50.0)
    work(forecast, heard, "training", 50.0)
    work(forecast, heard, "answering", 200.0)
    forecast.stage("build", "encoder")
    assert heard.lines == []
    work(forecast, heard, "training", 600.0, last=6)
    assert len(heard.lines) == 1
    assert heard.lines[0].startswith("Slower than estimated: about 9 min left instead of 12 s.")


def test_of_what_goes_on_where_an_earlier_run_stopped_the_rest_is_told(heard: Heard) -> None:
    assert left_of(TOLD, 0.0) == TOLD
    left = left_of(TOLD, 0.75)  # 150 of 200 seconds: 20 of those of the first holdout are to come
    assert [one.seconds for one in left.stages] == [10.0, 20.0, 30.0]
    forecast = Forecast(heard, left, heard.clock)
    for stage, took in zip(STAGES[1:], (10.0, 0.1, 0.1, 0.1, 20.0), strict=True):
        heard.seconds += took  # what is kept is passed through
        forecast.stage(stage.doing, stage.candidate)
    heard.seconds += 30.0
    forecast.stage("end", "")
    assert heard.lines == []
    assert left_of(TOLD, 1.0).seconds == 10.0, "what it takes to start"


def test_what_an_earlier_run_has_done_teaches_nothing(heard: Heard) -> None:
    forecast = Forecast(heard, TOLD, heard.clock)
    heard.seconds = 10.0
    for stage in STAGES[1:4]:
        forecast.stage(stage.doing, stage.candidate)
    assert forecast.pace() == TOLD.pace


@pytest.mark.parametrize(("stage", "label"), [(STAGES[2], "training"), (STAGES[5], "answering")])
def test_what_goes_on_where_an_earlier_run_stopped_teaches_nothing(
    heard: Heard, stage: Stage, label: str
) -> None:
    forecast = Forecast(heard, TOLD, heard.clock)
    heard.seconds = 10.0
    forecast.stage(stage.doing, stage.candidate)
    work(forecast, heard, label, stage.seconds, first=45)
    forecast.stage("end", "")
    assert forecast.pace() == TOLD.pace


def test_the_pace_is_what_the_threads_were_given_of_the_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert pace_of_share([2.0, 2.0], 2.0) == Pace()
    assert pace_of_share([1.0, 0.5, 0.25, 0.25], 1.0) == Pace(2.0, 2.0, 2.0)
    assert pace_of_share([1.01, 1.01], 1.0) == Pace()  # by two clocks that differ a little
    monkeypatch.setattr(module, "cores", lambda: 4)
    monkeypatch.setattr(module, "_compute", lambda until: module.MEASURED_S / 4)
    assert measure_pace() == Pace(4.0, 4.0, 4.0)
    monkeypatch.undo()
    took: list[Pace] = []
    monkeypatch.setattr(module, "measure_pace", lambda: took.append(Pace()) or took[-1])
    module._pace_in.cache_clear()
    for now in (600.0, 601.0, 660.0):
        monkeypatch.setattr(module.time, "monotonic", lambda now=now: now)
        assert module.recent_pace() is took[-1]
    assert len(took) == 2
    monkeypatch.undo()
    module._pace_in.cache_clear()
    began = time.thread_time()
    given = module._compute(time.perf_counter() + 0.2)
    assert 0 < given <= time.thread_time() - began
