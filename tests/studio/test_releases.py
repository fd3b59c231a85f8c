"""What Releases says of traces, and of the sample that is judged."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

from assay.project import releases
from assay.project.addition import Addition
from assay.project.releases.corrections import UnaddedCorrections
from assay.project.releases.kept import KeptTraces
from assay.project.releases.scores import LatestScore, find_latest_scores, find_scores
from assay.project.workspace import Workspace
from assay.release.examples import ExportedExamples
from assay.studio.pages.releases.correction_additions import (
    describe_added,
    describe_offer,
    describe_rejected,
    describe_saved,
)
from assay.studio.pages.releases.page import with_score
from assay.studio.pages.releases.staleness import explain_nothing_to_judge
from assay.studio.pages.releases.traces import describe_kept
from assay.studio.pages.start.page import say_why_promoted
from tests.release.shelf import compared, right, shelf

KEPT = KeptTraces(6, False, date(2026, 12, 28), 4, 0, 0.1)
NONE = KeptTraces(0, False, None, 0, 0, 0.1)


def test_what_was_kept_before_is_not_denied() -> None:
    said = describe_kept(KEPT)
    assert said.startswith("No new traces are kept. 6 kept earlier are deleted")
    assert "28\N{NO-BREAK SPACE}Dec\N{NO-BREAK SPACE}2026" in said
    assert describe_kept(NONE).startswith("None are kept.")
    assert describe_kept(replace(KEPT, active=True)).startswith("Every new request is kept")


def test_that_traces_are_not_in_the_sample_is_said() -> None:
    said = explain_nothing_to_judge(replace(KEPT, active=True))
    assert "none of the 4 traces" in said
    assert "10 %" in said
    judged = explain_nothing_to_judge(replace(KEPT, sampled=2))
    assert judged.startswith(
        "All 2 of the random sample are judged or set aside (“Cannot tell”), of 4 traces"
    )
    assert "4" not in explain_nothing_to_judge(NONE)
    for sampled in (0, 1):
        one = explain_nothing_to_judge(replace(KEPT, of_agent=1, sampled=sampled)).lower()
        assert "the only trace of this agent is" in one


def test_what_was_saved_is_said_and_what_makes_training_data_of_it() -> None:
    written = ExportedExamples("/folder/data/f", 3, 2, None, {}, None, 0)
    said = describe_saved("data/f", written)
    assert said == "3 corrections were saved in data/f; 2 could not be used."
    offer = UnaddedCorrections("data/f", 3, 1, 2, 0)
    said = describe_offer(offer, "data/q.xlsx")
    assert said.startswith("3 corrections in data/f can become training data. Nothing is trained")
    assert "added to data/q.xlsx, the examples of this project. 1 of them is there already." in said
    assert "For 2 of them, an example with the same input has another answer" in said
    waiting = describe_offer(replace(offer, file=None, rejected=1), "g")
    assert waiting.startswith("3 corrections can become training data; 1 could not be used.")
    # What was tried is no longer said to be still to be done, however little came of it.
    tried = [describe_added("f", Addition("g", there, 0, 3 - there, 0, ())) for there in range(4)]
    assert not any("before they are added" in said for said in tried)
    assert tried[0].endswith(
        "None of them is in g, the examples of this project; they were left out."
    )
    assert tried[1].endswith(
        "1 of them is in g, the examples of this project; the others were left out."
    )
    assert tried[3].endswith("All 3 are in g, the examples of this project.")


def test_a_system_prompt_that_is_too_long_is_named_behind_the_corrections() -> None:
    counts = {"empty-input": 1, "few-rows": 1, "prompt-too-long": 3}
    written = ExportedExamples(None, 0, 4, "/folder/data/a.rejected.jsonl", counts, None, 0)
    said = (
        "the project's system prompt leaves no room for an input (3); there is no text to answer "
        "(1). They are in data/a.rejected.jsonl."
    )
    assert describe_rejected(written) == said
    prompt = "the prompt has 9,001 tokens. Shorten it."
    named = describe_rejected(replace(written, prompt=prompt))
    assert named == f"{said} The prompt has 9,001 tokens. Shorten it."


def test_what_an_agent_scored_then_and_scores_now_is_told_apart(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    store, (one, other) = shelf(tmp_path, 2, workspace.store)
    first = compared(store, {one: right(1.0, 60), other: right(0.5, 60)}, id="a")

    def said(agent: str, comparison: str | None) -> str:
        return find_scores(workspace, agent, comparison).phrase

    assert said(one, first.comparison) == "100.0 of 100"
    compared(store, {one: right(0.75, 60), other: right(0.5, 60)}, id="b", minutes=5)
    then_and_now = "100.0 of 100 when it was promoted, 75.0 in the newest comparison"
    assert said(one, first.comparison) == then_and_now
    assert said(one, None) == "75.0 of 100 in the newest comparison"
    compared(store, {one: right(0.25, 60)}, id="d", minutes=7, primary="field-f1")
    then, present = f"100.0 of 100 by {first.primary}", "25.0 by field-f1"
    told = f"{then} when it was promoted, {present} in the newest comparison"
    assert said(one, first.comparison) == told
    compared(store, {other: right(0.5, 60)}, id="c", minutes=9)
    assert "the newest comparison did not measure it" in said(one, first.comparison)
    assert said(one, None) == ""


def test_start_says_for_what_reason_an_agent_was_promoted(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    store, (one, other) = shelf(tmp_path, 2, workspace.store)

    def said(name: str) -> str:
        [served] = [r for r in releases.list_releases(workspace) if r["name"] == name]
        return say_why_promoted(workspace, served)

    compared(store, {one: right(0.75, 60)[::-1], other: right(0.7, 60)})
    releases.promote(workspace, "desk", "tuned@1", force="a trial")
    assert said("desk").startswith(
        "desk runs tuned, version 1. Promoted (75.0 in 100) for the reason “a"
    )
    compared(store, {one: right(1.0, 60), other: right(0.2, 60)}, id="b", minutes=5)
    releases.promote(workspace, "fine", "tuned@1")
    assert said("fine") == ""


def test_scores_of_two_holdouts_are_not_put_in_one_order(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    store, (one, other, third) = shelf(tmp_path, 3, workspace.store)
    compared(store, {one: right(1.0, 60), third: right(0.25, 60)}, id="a")
    compared(store, {other: right(0.5, 60), third: right(0.75, 60)}, id="b", minutes=5)
    found = find_latest_scores(workspace, ["tuned@1", "tuned@2", "tuned@3"])
    assert list(found) == ["tuned@3", "tuned@2", "tuned@1"]
    assert found["tuned@3"] == LatestScore(0.75, 0)
    assert with_score("A", found["tuned@3"]) == "A: 75.0 of 100"
    assert with_score("B", found["tuned@1"]) == "B: 100.0 of 100 in an earlier comparison"
    assert with_score("C", None) == "C: not measured"
