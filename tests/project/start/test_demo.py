"""The demo's jobs: how much of them a machine is given, and that each ends in its own answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay import builtin
from assay.candidates.spec import Sizes
from assay.config import Config
from assay.config.yaml_text import edit
from assay.errors import UsageError
from assay.progress import Silent
from assay.project import DemoJobs, Project, estimate
from assay.project.estimate import REFERENCE_FLOPS, Pace
from assay.project.start import demo
from assay.project.start.demo import (
    ASKED,
    EFFORTS,
    JOURNEY,
    RECORD_TOKENS,
    RECORDS_S,
    VALIDATION_ROWS,
    affordable_effort,
    fit_records,
    open_desks,
    open_handbook,
    open_records,
)

CONFIG = Config.model_validate(
    {
        "name": "ferry",
        "task": "json",
        "data": {"file": "tickets.jsonl"},
        "graders": [{"name": "exact-record"}],
        "primary": "exact-record",
        "candidates": ["prompt", "fine-tune"],
        "generate": {"constrained": "on", "max_new_tokens": RECORD_TOKENS},
        "fine_tune": {"system_prompt": "Write the record.", "epochs": 1, "seeds": 1},
    }
)
SIZES = Sizes(
    train=520,
    validation=VALIDATION_ROWS,
    holdout=120,
    system_tokens=90,
    input_tokens=34,
    output_tokens=20,
    parameters=134.5e6,
    context=8192,
)


SLOW = Pace(50.0, 50.0, 50.0)


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def test_a_faster_machine_is_given_more_and_a_busy_one_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "machine_flops", lambda: REFERENCE_FLOPS)
    paces = [0.3, 0.7, 0.8, 0.9, 1.0, 2.0, 100.0]
    given = [EFFORTS.index(affordable_effort(CONFIG, SIZES, Pace(p, p, p))) for p in paces]
    assert given[0] == 0
    assert given == sorted(given)
    assert given[-1] == len(EFFORTS) - 1
    assert len(set(given)) >= 3
    assert RECORDS_S < 200


def test_the_second_job_asks_for_the_journey_and_is_cut_to_the_pace(tmp_path: Path) -> None:
    made = open_records(tmp_path / "records")
    written = made.text
    assert made.config.data.train_rows == EFFORTS[0].train_rows
    assert made.split().holdout == EFFORTS[0].holdout_rows
    records = [json.loads(example.output) for example in made.show("train", 20)]
    assert {tuple(record) for record in records} == {JOURNEY}
    slow = fit_records(made, SLOW)
    assert slow.config.data.train_rows == EFFORTS[-1].train_rows
    assert slow.config.data.holdout_rows == EFFORTS[-1].holdout_rows
    # What init wrote beside it still stands, comments and all.
    assert "# below this score" in written
    assert "# below this score" in slow.text
    assert open_records(tmp_path / "records").config == slow.config


def test_the_third_job_asks_what_the_handbook_answers(tmp_path: Path) -> None:
    made = open_handbook(tmp_path / "handbook")
    assert made.config.primary == "contains"
    assert made.config.candidates == ["prompt", "rag"]
    assert made.config.knowledge is not None
    assert len(list((made.root / "knowledge").iterdir())) == 16
    manifest = made.split()
    assert manifest.rows >= 300
    assert manifest.holdout in ASKED
    asked = made.show("validation", 50)
    assert {e.document for e in asked} - {None}
    assert builtin.ABSTAIN not in {e.output for e in asked}
    assert open_handbook(tmp_path / "handbook").config == made.config


def test_a_job_keeps_the_rows_it_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped and started again beside other programs, it goes on, and does not train anew."""
    monkeypatch.setattr(demo, "measure_training", lambda _: Pace().training)
    monkeypatch.setattr(estimate, "machine_flops", lambda: 100 * REFERENCE_FLOPS)
    _, records, handbook = DemoJobs(tmp_path, measure=Pace)
    assert records.config.data.train_rows == EFFORTS[0].train_rows
    monkeypatch.setattr(demo, "measure_training", lambda _: SLOW.training)
    monkeypatch.setattr(estimate, "machine_flops", lambda: REFERENCE_FLOPS)
    _, again, asked = DemoJobs(tmp_path, measure=lambda: SLOW)
    assert (again.text, asked.text) == (records.text, handbook.text)


def test_a_slow_machine_is_told_that_less_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "measure_training", lambda _: SLOW.training)
    lines = Lines()
    _, records, handbook = DemoJobs(tmp_path, lines, lambda: SLOW)
    assert records.config.data.train_rows == EFFORTS[-1].train_rows
    assert handbook.config.data.holdout_rows == ASKED[-1]
    assert f"the second job trains on {EFFORTS[-1].train_rows} rows" in "".join(lines.said)
    assert f"the third job measures on {ASKED[-1]} questions." in "".join(lines.said)


@pytest.mark.parametrize(
    ("measured", "learned", "told"),
    [
        ([2.0, 2.0], 3.0, 3.0),  # the load is as it was
        ([3.0, 1.0], 2.0, 1.0),  # it has stopped
        ([1.0, 3.0], 2.0, 3.0),  # it has begun
    ],
)
def test_the_load_is_measured_before_each_job(
    measured: list[float], learned: float, told: float, tmp_path: Path
) -> None:
    paces = (Pace(one, one, one) for one in measured)
    jobs = DemoJobs(tmp_path, measure=lambda: next(paces))
    rest = iter(jobs)
    next(rest)
    assert jobs.pace == Pace(*[measured[0]] * 3)
    jobs.pace = Pace(*[learned] * 3)
    jobs.measure_again()
    assert jobs.pace == Pace(*[pytest.approx(told)] * 3)


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        DemoJobs(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


def verdict_of(made: Project) -> tuple[str, str | None]:
    verdict = made.compare().result.verdict
    return verdict.outcome, verdict.recommend


@pytest.mark.slow
def test_the_first_job_is_one_for_a_classifier(tmp_path: Path) -> None:
    """Nothing of it depends on the machine: neither rows nor settings are cut to its speed. Without
    the prompt, whose answers take most of the time and are far behind."""
    made = open_desks(tmp_path / "desks")
    assert (made.config.task, made.config.labels) == ("label", ["care", "duty", "freight", "sales"])
    assert open_desks(tmp_path / "desks").config == made.config
    file = made.root / "assay.yaml"
    file.write_text(edit(file.read_text("utf-8"), {"candidates": ["classifier"]}), "utf-8")
    assert verdict_of(open_desks(made.root)) == ("recommend", "classifier")


@pytest.mark.soak
def test_the_whole_first_job_is_one_for_a_classifier(tmp_path: Path) -> None:
    assert verdict_of(open_desks(tmp_path / "desks")) == ("recommend", "classifier")


@pytest.mark.soak
def test_the_third_job_is_one_for_the_documents(tmp_path: Path) -> None:
    """On the fewest questions, and whoever has read nothing knows nothing."""
    slow = Pace(1000.0, 1000.0, 1000.0)
    made = open_handbook(tmp_path / "handbook", pace=slow)
    assert made.split().holdout == ASKED[-1]
    result = made.compare().result
    assert (result.verdict.outcome, result.verdict.recommend) == ("recommend", "quote")
    scores = {one.name: one.score for one in result.candidates}
    assert (
        max(scores[name] or 0 for name in ("baseline-majority", "nearest-answer", "prompt")) < 0.1
    )


@pytest.mark.soak
def test_the_second_job_is_one_for_fine_tuning_at_the_smallest_effort(tmp_path: Path) -> None:
    made = open_records(tmp_path / "records")
    assert verdict_of(fit_records(made, Pace(1000.0, 1000.0, 1000.0))) == (
        "recommend",
        "fine-tune",
    )
