"""`assay compare` as a person meets it who is asked something meanwhile."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from tests.small import small_project

from assay import project
from assay.agent.consent import ConsentError
from assay.cli import main, options
from assay.compare.report import terminal
from assay.config import Place
from assay.jobs import queue
from assay.project import earlier_run, forecast, queued_comparisons
from assay.project.estimate import Estimate, Pace, Stage
from assay.project.queued_comparisons import COMPARE
from assay.store.store import owner_of

TOLD = Estimate((Stage("start", "start", "other", 60.0),), Pace(), 0.0, None, None, 10, 0.1)


def test_the_time_that_somebody_thinks_about_consent_is_not_counted_as_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compare(consent: list[str], progress: Any, **_: object) -> SimpleNamespace:
        if not consent:
            raise ConsentError("rows would leave.", provider="acme")
        with progress.task("answering", 10, "answers") as bar:
            bar.advance()
        return SimpleNamespace(result=None, report="report.html")

    now = [0.0]

    def think(*_: object, **__: object) -> bool:
        now[0] += 600.0
        return True

    config = SimpleNamespace(place=Place())
    config.model_copy = lambda update: config
    store = SimpleNamespace(folder=tmp_path)
    opened = SimpleNamespace(
        config=config, estimate=lambda pace: TOLD, compare=compare, store=store, root=tmp_path
    )
    monkeypatch.setattr(project, "open", lambda _: opened)
    monkeypatch.setattr(queued_comparisons, "describe_alive", lambda *_: None)
    monkeypatch.setattr(forecast, "measure_pace", Pace)
    monkeypatch.setattr(forecast.Forecast.__init__, "__defaults__", (lambda: now[0],))
    monkeypatch.setattr(terminal, "print_result", lambda _: None)
    monkeypatch.setattr(main, "print_estimate", lambda *_: None)
    monkeypatch.setattr(earlier_run, "basis_of", lambda _: {})
    monkeypatch.setattr(options.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(typer, "confirm", think)
    main.compare(json=False)
    assert "than estimated" not in capsys.readouterr().err


def test_a_comparison_that_runs_as_a_job_is_told_to_whoever_starts_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = small_project(tmp_path)
    job = queue.enqueue(opened.store, owner_of(opened.store, opened.root), COMPARE, {})

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(forecast, "measure_pace", stop)
    for is_over in (False, True):
        with pytest.raises(KeyboardInterrupt):
            main.compare(folder=opened.root, json=False)
        assert (f"is queued already ({job})" in capsys.readouterr().err) != is_over
        queue.ask(opened.store, job, "cancel")
