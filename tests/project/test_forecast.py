"""What is told of a comparison is corrected while it runs, and what it took is learned from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from assay.progress import SILENT, Task
from assay.project.estimate import Estimate, Pace, Stage
from assay.project.forecast import Forecast, measure_pace

STAGES = (
    Stage("start", "start and report", "other", 10.0),
    Stage("build", "prompt", "answers", 20.0),
    Stage("build", "fine-tune", "training", 100.0),
    Stage("speed", "prompt", "answers", 10.0),
    Stage("holdout", "prompt", "answers", 30.0),
    Stage("holdout", "fine-tune", "answers", 30.0),
)
TOLD = Estimate(STAGES, Pace(answers=2.0), 0.0, None, None, 100, 0.1)


class Heard:
    """A progress that keeps what is said, and a clock that is turned by hand."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.seconds = 0.0

    def clock(self) -> float:
        return self.seconds

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        with SILENT.task(label, total, unit) as task:
            yield task

    def say(self, line: str) -> None:
        self.lines.append(line)


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


@pytest.mark.parametrize(("slower", "word"), [(2.0, "Slower"), (0.5, "Faster")])
def test_what_was_told_wrongly_is_corrected_early_and_learned(
    heard: Heard, slower: float, word: str
) -> None:
    forecast = Forecast(heard, TOLD, heard.clock)
    go(forecast, heard, slower)
    assert heard.lines[0].startswith(f"{word} than told: about ")
    assert 1 <= len(heard.lines) <= 3
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
    assert heard.lines[0].startswith("Slower than told: about 7 min in all instead of 3 min")


def test_what_an_earlier_run_has_done_teaches_nothing(heard: Heard) -> None:
    forecast = Forecast(heard, TOLD, heard.clock)
    heard.seconds = 10.0
    for stage in STAGES[1:4]:
        forecast.stage(stage.doing, stage.candidate)
    assert forecast.pace() == TOLD.pace


def test_the_pace_of_this_machine_is_measured() -> None:
    pace = measure_pace()
    assert pace.training == pace.answers == pace.other >= 1.0
