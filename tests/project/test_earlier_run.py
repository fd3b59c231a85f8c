"""What an earlier run of a comparison has done is not told as time of the next one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assay.progress import SILENT
from assay.project import earlier_run
from assay.project.earlier_run import WRITTEN_EVERY_S, EarlierRun
from assay.project.estimate import Estimate, Pace, Stage
from assay.project.forecast import Forecast

STAGES = (
    Stage("start", "start and report", "other", 10.0),
    Stage("build", "prompt", "answers", 90.0),
    Stage("holdout", "prompt", "answers", 100.0),
)
TOLD = Estimate(STAGES, Pace(), 0.0, 2.0, None, 100, 0.1)


def test_of_a_comparison_that_was_killed_the_next_run_tells_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = {"settings": "a"}
    monkeypatch.setattr(earlier_run, "basis_of", lambda _: compared)
    project: Any = SimpleNamespace(store=SimpleNamespace(folder=tmp_path))
    now = [0.0]

    def begin() -> EarlierRun:
        return EarlierRun(SILENT, project, clock=lambda: now[0])

    first = begin()
    assert (first.share, first.left_of(TOLD)) == (0.0, TOLD)
    forecast = Forecast(first, TOLD, clock=lambda: now[0])
    for doing, seconds in (("build", 10.0), ("holdout", 90.0)):
        now[0] += seconds
        forecast.stage(doing, "prompt")
    now[0] += WRITTEN_EVERY_S - 1  # and is killed: what came last is not known
    forecast.consider()
    second = begin()
    assert second.share == 0.5
    left = second.left_of(TOLD)
    assert [(one.doing, one.seconds) for one in left.stages] == [
        ("start", 10.0),
        ("holdout", 100.0),
    ]
    assert left.usd == 1.1
    now[0] += WRITTEN_EVERY_S
    second.set_share(0.5)  # of what was left
    assert begin().share == 0.75
    compared["settings"] = "b"
    assert begin().share == 0.0, "another comparison"
    compared["settings"] = "a"
    second.set_share(1.0)
    assert begin().left_of(TOLD).seconds == 10.0, "what it takes to start"
    next(tmp_path.rglob(earlier_run.FILE)).write_text("{")
    assert begin().share == 0.0
