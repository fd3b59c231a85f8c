"""The main job on a tiny model: a file in, a verdict out; stopped, resumed, repeated."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests import small
from tests.preloaded import run_code
from tests.small import write_csv

import assay
from assay.compare import performance, records
from assay.compare.result import Result
from assay.errors import DataError, HoldoutError, UsageError
from assay.evaluate import run
from assay.project import comparisons
from assay.project.workspace import Workspace

small_project = partial(small.small_project, tiny_embedder=True)
CODE = "import assay, sys; assay.open(sys.argv[1]).compare(reason='killed test')"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory):
    project = small_project(tmp_path_factory.mktemp("compared"))
    return project, project.compare(reason="first look")


def test_a_file_becomes_a_verdict(compared) -> None:
    _project, comparison = compared
    result = comparison.result
    names = [candidate.name for candidate in result.candidates]
    assert names == [
        "baseline-majority",
        "baseline-tfidf",
        "classifier",
        "nearest-answer",
        "prompt",
        "few-shot",
        "few-shot-nearest",
        "encoder",
        "fine-tune",
    ]
    assert len(result.pairs) == 36
    assert all(c.status == "complete" for c in result.candidates)
    by_name = {c.name: c for c in result.candidates}
    assert by_name["baseline-tfidf"].score > by_name["baseline-majority"].score
    assert by_name["fine-tune"].setup_seconds > 0
    assert by_name["prompt"].latency_p50_s > 0
    assert by_name["prompt"].cost_per_1000 > 0
    # A random model cannot do the job; two classifiers can, and so few rows cannot tell them apart.
    assert by_name["classifier"].score == by_name["baseline-tfidf"].score == 1.0
    assert comparison.verdict.outcome == "cannot_tell"
    assert comparison.verdict.use_meanwhile in ("baseline-tfidf", "classifier")
    assert [c.candidate for c in result.curves] == ["encoder", "fine-tune"]
    assert len(result.confusions) == 9
    # What training cost the model in general is measured for the tuned candidate alone.
    assert [c.name for c in result.candidates if c.forgetting is not None] == ["fine-tune"]
    assert by_name["fine-tune"].forgetting.text.lost != 0


def test_what_was_written_says_the_same(compared) -> None:
    _project, comparison = compared
    written = Result.model_validate_json((comparison.folder / "result.json").read_text())
    assert written == comparison.result
    with gzip.open(comparison.folder / "answers.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) == written.data.holdout
    for candidate in written.candidates:
        mean = sum(row["scores"][candidate.name] for row in rows) / len(rows)
        assert mean == pytest.approx(candidate.score)
    assert comparison.report.read_text().startswith("<!doctype html>")


def test_the_plan_was_written_before_the_opening(compared) -> None:
    _, comparison = compared
    result = comparison.result
    assert result.plan.written_at <= result.openings[0].at
    assert result.plan.candidates == [c.name for c in result.candidates]
    assert [(o.number, o.reason) for o in result.openings] == [(1, "first look")]


def test_the_same_comparison_does_not_open_again(compared) -> None:
    project, comparison = compared
    again = project.compare(reason="once more")
    assert again.result == comparison.result
    assert len(project.openings()) == 1


def test_the_holdout_is_never_shown(compared) -> None:
    project, _ = compared
    with pytest.raises(HoldoutError, match="locked"):
        project.show("holdout", 5)
    with pytest.raises(UsageError, match="no split"):
        project.show("test", 5)
    held = {
        json.loads(line)["id"]
        for line in (project.split_folder / "holdout.jsonl").read_text().splitlines()
    }
    shown = {e.id for part in ("train", "validation") for e in project.show(part, 10_000)}
    assert held
    assert not held & shown


@pytest.mark.slow
def test_another_metric_is_a_second_opening_at_a_stricter_level(tmp_path: Path) -> None:
    project = small_project(
        tmp_path, edit={"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    )
    first = project.compare()
    path = project.root / "assay.yaml"
    path.write_text(path.read_text().replace("margin: 0.02", "margin: 0.05"))
    second = assay.open(project.root).compare(reason="a wider margin")
    assert second.result.opening.number == 2
    assert second.result.opening.alpha == pytest.approx(first.result.opening.alpha / 4)
    assert [o.number for o in second.result.openings] == [1, 2]


@pytest.mark.slow
def test_costs_that_change_afterwards_are_no_opening_unless_they_say_what_is_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = {"  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    project = small_project(tmp_path, edit=edits)
    first = project.compare().result
    path = project.root / "assay.yaml"
    text = path.read_text()

    def newest() -> str:
        return next(records.load_results(project.store)).comparison

    def compare_with(edited: str) -> Result:
        path.write_text(edited)
        return assay.open(project.root).compare(reason="costs").result

    with monkeypatch.context() as patch:
        for module in (performance, run):
            patch.setattr(module, "measure_latency", None)
        patch.setattr(run, "_ask", None)
        dearer = compare_with(
            text.replace("monthly_requests: 10000", "monthly_requests: 77").replace(
                "person_hour_usd: 60", "person_hour_usd: 90"
            )
        )
    assert dearer.comparison != first.comparison
    assert dearer.plan.opened_by == first.comparison
    assert dearer.plan.monthly_requests == 77
    assert dearer.plan.sha256 != first.plan.sha256
    assert (dearer.opening, dearer.openings) == (first.opening, first.openings)
    assert dearer.pairs == first.pairs
    assert [c.score for c in dearer.candidates] == [c.score for c in first.candidates]
    assert [c.yearly_cost for c in dearer.candidates] != [c.yearly_cost for c in first.candidates]
    assert any(first.comparison[:16] in one for one in dearer.warnings)
    again = compare_with(text.replace("monthly_requests: 10000", "monthly_requests: 78"))
    assert again.plan.opened_by == first.comparison
    assert newest() == again.comparison
    assert compare_with(text).comparison == first.comparison
    assert newest() == first.comparison, "else the prices that were given up would count"
    lenient = compare_with(text + "margin_for_cheaper: 0.05\n")
    assert lenient.opening.number == 2
    lenient = compare_with(
        text.replace("monthly_requests: 10000", "monthly_requests: 79")
        + "margin_for_cheaper: 0.05\n"
    )
    assert (lenient.opening.number, lenient.plan.opened_by) == (3, None)


@pytest.mark.slow
def test_what_is_edited_during_a_comparison_counts_from_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = small_project(
        tmp_path, edit={"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    )
    began = project.split().holdout_sha256
    save_plan = records.save_plan

    def edit_first(*given: Any) -> Any:
        path = project.root / "assay.yaml"  # somebody locks a larger share away
        text = path.read_text()
        path.write_text(text.replace("holdout: 0.3", "holdout: 0.4"))
        assert path.read_text() != text
        assert assay.open(project.root).split().holdout_sha256 != began
        return save_plan(*given)

    monkeypatch.setattr(records, "save_plan", edit_first)
    compared = project.compare()
    monkeypatch.undo()
    assert compared.result.data.holdout_sha256 == began
    assert compared.result.opening.number == 1
    later = assay.open(project.root)
    [seen] = later.openings()  # what both have has been seen
    assert seen.comparison == compared.result.comparison
    assert later.split().holdout_sha256 != began


@pytest.mark.slow
def test_changed_data_after_an_opening_is_refused(tmp_path: Path) -> None:
    project = small_project(
        tmp_path, edit={"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    )
    project.compare()
    write_csv(project.root / "data" / "pets.csv", seed=7)
    with pytest.raises(HoldoutError, match="renew-holdout"):
        assay.open(project.root).compare()


@pytest.mark.slow
def test_labels_corrected_by_what_the_candidates_say_count_in_the_next_holdout_only(
    tmp_path: Path,
) -> None:
    project = small_project(
        tmp_path, edit={"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    )
    data = project.root / "data" / "pets.csv"
    header, *lines = data.read_text().splitlines()
    wrong = {"cat": "dog", "dog": "parrot", "parrot": "cat"}
    noisy = list(lines)
    for row in range(0, len(lines), 16):
        text, label = lines[row].split(",")
        noisy[row] = f"{text},{wrong[label]}"
    data.write_text("\n".join([header, *noisy]) + "\n")
    found = project.compare().result
    review = comparisons.review_labels(Workspace(project.root))
    assert review.rows
    assert found.second_look is not None
    assert found.second_look.ceiling == 1 - len(review.rows) / found.data.holdout
    for row in review.rows:
        assert f"{row.input},{row.label}" in set(noisy) - set(lines)

    data.write_text("\n".join([header, *lines]) + "\n")
    with pytest.raises(HoldoutError, match="renew-holdout"):
        assay.open(project.root).compare()
    fresh = write_csv(tmp_path / "fresh.csv", 60, seed=3)
    fresh.write_text(fresh.read_text().replace(" near the ", " far from any "))
    again = assay.open(project.root)
    again.renew_holdout(fresh)
    learned = {e.input: e.output for p in ("train", "validation") for e in again.show(p, 1000)}
    corrected = [row for row in review.rows if row.input in learned]
    assert corrected
    for row in corrected:
        assert [learned[row.input]] == list(row.said)


@pytest.mark.slow
def test_outside_answers_take_part(tmp_path: Path) -> None:
    project = small_project(
        tmp_path, edit={"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    )
    project.split()
    rows = [
        json.loads(line)
        for line in (project.split_folder / "holdout.jsonl").read_text().splitlines()
    ]
    answers = [{"id": r["id"], "output": r["messages"][-1]["content"]} for r in rows]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(a) + "\n" for a in answers))
    comparison = project.compare(predictions={"vendor": file})
    vendor = next(c for c in comparison.result.candidates if c.name == "vendor")
    assert vendor.score == 1.0
    assert vendor.yearly_cost is None
    assert vendor.setup_seconds is None
    file.write_text("".join(json.dumps(a) + "\n" for a in answers[1:]))
    with pytest.raises(DataError, match=rows[0]["id"]):
        project.compare(predictions={"vendor": file})


def test_outside_answers_that_do_not_fit_open_nothing(tmp_path: Path) -> None:
    project = small_project(
        tmp_path, edit={"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    )
    file = tmp_path / "answers.jsonl"
    file.write_text('{"id": "row-1", "output": "cat"}\n')
    with pytest.raises(DataError):
        project.compare(predictions={"vendor": file})
    assert project.openings() == []


@pytest.mark.slow
def test_killed_half_way_it_goes_on_to_the_same_result(tmp_path: Path) -> None:
    project = small_project(tmp_path, edit={"  - few-shot-nearest\n  - encoder\n": ""})
    killed, state = 0, project.root / ".assay"
    for begun in ("runs/**/0*.json", "work/fine-tune-*"):  # answers of a batch, a training
        process = run_code(CODE, str(project.root), output=tmp_path / "output")
        while process.poll() is None and not list(state.glob(begun)):
            time.sleep(0.02)
        process.kill()
        killed += process.wait(60) == -signal.SIGKILL
    whole = project.compare(reason="killed test").result
    assert killed
    assert [o.reason for o in whole.openings] == ["killed test"]
    other = tmp_path / "other"
    shutil.copytree(project.root, other, ignore=shutil.ignore_patterns(".assay"))
    undisturbed = assay.open(other).compare(reason="killed test").result
    for one, two in zip(whole.candidates, undisturbed.candidates, strict=True):
        assert (one.name, one.score, one.agent) == (two.name, two.score, two.agent)


@pytest.mark.slow
def test_a_learning_curve_is_kept_and_forecasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = small_project(tmp_path, rows=260)
    curve = project.curve("baseline-tfidf")
    assert curve.sizes[-1] == len(project.show("train", 10_000))
    assert len(curve.scores) == 5
    assert all(len(repeats) == 3 for repeats in curve.scores)
    assert curve.doubling is not None
    assert curve.doubling.then.size == 2 * curve.sizes[-1]
    kept = list((project.store.folder / "curves").iterdir())
    assert len(kept) == 15
    missed = replace(curve.backtest, covered=False)
    monkeypatch.setattr("assay.compare.curve.backtest", lambda sizes, scores: missed)
    again = project.curve("baseline-tfidf")
    assert again.scores == curve.scores
    assert again.to_dict()["doubling"] is None  # what missed once is not trusted again


def test_outside_answers_cannot_take_a_candidates_name(tmp_path: Path) -> None:
    project = small_project(
        tmp_path, edit={"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    )
    file = tmp_path / "answers.jsonl"
    file.write_text("")
    for name in ("prompt", "baseline-tfidf", "My Model"):
        with pytest.raises(UsageError, match="cannot be used as the name"):
            project.compare(predictions={name: file})
    assert project.openings() == []


@pytest.mark.slow
def test_another_number_format_is_another_comparison(tmp_path: Path) -> None:
    edits = {"  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    project = small_project(
        tmp_path, edit=edits | {"constrained: auto": "constrained: auto, dtype: float32"}
    )
    first = project.compare().result
    path = project.root / "assay.yaml"
    path.write_text(path.read_text().replace("dtype: float32", "dtype: bfloat16"))
    second = assay.open(project.root).compare().result
    assert first.comparison != second.comparison
    assert second.opening.number == 2


@pytest.mark.slow
def test_a_lost_result_is_made_again_without_another_opening(tmp_path: Path) -> None:
    edits = {"  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    project = small_project(tmp_path, edit=edits)
    first = project.compare()
    shutil.rmtree(first.folder)
    again = assay.open(project.root).compare()
    assert again.report.exists()
    assert again.result.verdict == first.result.verdict
    assert len(project.openings()) == 1
