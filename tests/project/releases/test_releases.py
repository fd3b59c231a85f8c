"""From a comparison to a release, its traces, its labels and its watch, on a tiny project."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.release.shelf import compared, right, shelf
from tests.small import small_project

from assay import project
from assay.agent.agent import Agent
from assay.agent.versions import history, save_agent
from assay.candidates.registry import build
from assay.compare.report import html
from assay.compare.report.terminal import print_result
from assay.errors import HoldoutError, ModelError, UsageError
from assay.evaluate.parity import Parity
from assay.example import Message
from assay.project import comparisons, releases, versions
from assay.project.releases import corrections
from assay.project.releases.correction_check import CorrectionError, check_correction
from assay.project.releases.kept import kept_traces
from assay.release import changes, traces
from assay.release.evidence import UnprovenError
from assay.release.releases import resolve
from assay.store.store import Store

BASELINE = "baseline-tfidf@1"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> project.Workspace:
    edit = {
        "  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n": "",
        "  - classifier\n": "",
        "  - nearest-answer\n": "",
        "margin:": "baselines: false\nmargin:",
    }
    made = small_project(tmp_path_factory.mktemp("released"), edit=edit)
    made.compare()
    workspace = project.open_workspace(made.root)
    assert releases.promote(workspace, "pets", BASELINE).comparison is not None
    return workspace


def test_a_reason_does_not_make_the_comparison_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = project.Workspace(tmp_path)
    _, (a, b, _) = shelf(tmp_path, store=workspace.store)
    assert releases.find_doubt(workspace, "desk", "tuned@2") == "Not measured in a comparison."
    result = compared(workspace.store, {a: right(0.7, 60), b: right(0.75, 60)[::-1]})
    doubt = "The one to use for now, not proven to be as good as the best."
    assert releases.find_doubt(workspace, "desk", "tuned@2") == doubt
    releases.promote(workspace, "desk", "tuned@2", force="a trial")
    assert releases.find_doubt(workspace, "desk", "tuned@2") is None

    def described() -> str:
        return releases.describe_promotion(workspace, releases.history(workspace, "desk"))

    headline = "Use candidate-1 for now; not proven"
    kept = f"Promoted (75.0 in 100) for the reason “a trial”. The comparison said: {headline}."
    assert described() == kept
    # Terminal and report say the same of this comparison.
    print_result(result)
    assert headline in capsys.readouterr().out
    assert f"{headline}</h1>" in html.render(result, [], redacted=True)
    assert releases.watch_release(workspace, "desk").score == pytest.approx(0.75)
    releases.canary(workspace, "desk", 0.1, "tuned@1", force="another reason")
    assert described() == kept
    releases.promote(workspace, "desk", "tuned@3", force="never measured")
    assert described() == "Promoted without a comparison: never measured"
    releases.rollback(workspace, "desk")
    assert described() == kept


def test_promotion_opens_no_holdout_and_refuses_the_worse(released: project.Workspace) -> None:
    opened = released.project.openings()
    with pytest.raises(UnprovenError, match="is worse than baseline-tfidf"):
        releases.promote(released, "pets", "prompt@1")
    with pytest.raises(UnprovenError):
        releases.canary(released, "pets", 0.1, "baseline-majority@1")
    assert released.project.openings() == opened
    (listed,) = releases.list_releases(released)
    assert (listed["agent"], listed["traces"]) == (BASELINE, False)


def test_a_score_has_one_range_wherever_it_stands(released: project.Workspace) -> None:
    result = comparisons.newest(released)
    assert result is not None
    for one in result.candidates:
        decided = one.metrics[result.primary]
        assert (decided.score, decided.low, decided.high) == (one.score, one.low, one.high)


def test_another_opening_is_foreseen_before_it_is_needed(released: project.Workspace) -> None:
    settings, opened = released.root / "assay.yaml", released.project.openings()
    text = settings.read_text()

    def changes_with(edited: str) -> comparisons.Changes:
        settings.write_text(edited)
        try:
            return comparisons.changes(project.open_workspace(released.root))
        finally:
            settings.write_text(text)

    none = comparisons.changes(released)
    assert none == comparisons.Changes([], False, False, [], None)
    found = changes_with(text.replace("margin: 0.02", "margin: 0.03"))
    assert (found.changed, found.costs, found.perhaps) == (["settings"], False, [])
    assert found.opening is not None
    assert found.opening.number == 2
    assert found.opening.level == pytest.approx(found.opening.first_level / 4)
    dearer = text.replace("monthly_requests: 10000", "monthly_requests: 77")
    assert changes_with(dearer) == replace(none, costs=True), "costs alone open nothing"
    # Unless costs say what is tested, whose margin is set by which one is cheaper.
    found = changes_with(dearer + "margin_for_cheaper: 0.05\n")
    assert (found.changed, found.costs) == (["settings"], False)
    assert released.project.openings() == opened


def test_promotion_asks_the_engine_that_will_serve(
    released: project.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Serving:
        def __init__(self, store: Store, **_: object) -> None:
            assert store.folder == released.store.folder

        def engine(self, model: str) -> str:
            return model

        def close(self) -> None:
            asked.append(-1)

    def parity(bench: object, agent: Agent, examples: Sequence[object], target: object) -> Parity:
        asked.append(len(examples))
        formats, refusals = ("float32", "16 bits"), ("It answers 'cat', not 'dog'.",)
        return Parity(3, 0.9, 0.1, 1.0, 0.0, 0, 0, 0, 3, formats, refusals)

    monkeypatch.setattr("assay.generate.local_pool.LocalPool", Serving)
    monkeypatch.setattr("assay.evaluate.parity.parity", parity)
    with pytest.raises(ModelError, match="'cat', not 'dog'"):
        releases.promote(released, "pets", "prompt@1", force="a trial")
    assert asked == [released.project.split().validation, -1]
    assert releases.list_releases(released)[0]["agent"] == BASELINE
    releases.promote(released, "other", BASELINE, force="classical models are not asked")
    assert len(asked) == 2


def test_traces_are_labelled_watched_and_turned_into_data(
    released: project.Workspace, tmp_path: Path
) -> None:
    releases.traces_on(released, "pets", sample=1.0, days=7, most=100)
    agent = resolve(released.store, "pets", "pets", "anyone")
    assert agent is not None
    for n in range(4):
        asked = [Message("user", f"Somebody sees the parrot near a new place, number {n}")]
        assert traces.record(
            released.store,
            "pets",
            "pets",
            agent,
            id=f"trace-{n}",
            messages=asked,
            answer=Message("assistant", "parrot" if n else "dog"),
        )
    before = releases.watch_release(released, "pets")
    assert (before.outcome, before.labels, before.waiting) == ("open", 0, 4)
    assert releases.next_to_label(released, "pets").id == "trace-0"
    assert releases.label_trace(released, "trace-0", answer="parrot") == 0.0
    assert releases.label_trace(released, "trace-1", right=True) == 1.0
    assert releases.label_trace(released, "trace-2", skip=True) is None
    with pytest.raises(UsageError, match="say one thing"):
        releases.label_trace(released, "trace-3", right=True, skip=True)
    seen = releases.watch_release(released, "pets")
    assert (seen.labels, seen.skipped, seen.waiting, seen.mean) == (2, 1, 1, 0.5)
    with pytest.raises(CorrectionError, match=r"one of the 3 labels\. Did you mean 'parrot'"):
        releases.give_feedback(released, "trace-3", thumb="down", corrected="Parot")
    with pytest.raises(CorrectionError, match="is not one of the 3 labels"):
        releases.label_trace(released, "trace-3", answer="Parot")
    kept = releases.show_trace(released, "trace-3")
    assert (kept.thumb, kept.corrected, CorrectionError.exit_code) == (None, None, 1)
    # Of another project nothing is known; what was kept before the labels were these is rejected.
    with pytest.raises(traces.NoTraceError):
        releases.give_feedback(released, "trace-3", thumb=None, corrected="cow", project="other")
    traces.feedback(released.store, "pets", "trace-3", thumb="down", corrected="unicorn")
    done = corrections.export(released, tmp_path / "new.jsonl", "pets")
    assert (done.written, done.rejected) == (1, 1)
    (row,) = (tmp_path / "new.jsonl").read_text().splitlines()
    assert json.loads(row)["messages"][-1]["content"] == "parrot"
    assert "unknown-label" in done.counts


def test_a_corrected_record_has_the_form_of_the_others(tmp_path: Path) -> None:
    schema = '{"type": "object", "properties": {"count": {"type": "integer"}}}'
    text = f"""version: 1
name: orders
task: json
model: none
data: {{file: orders.jsonl}}
output_schema: {schema}
graders: [{{name: record-exact}}]
candidates: [prompt]
primary: record-exact
"""
    orders = project.Workspace(tmp_path, text)
    with pytest.raises(CorrectionError, match="the output is not JSON"):
        check_correction(orders, '{"count": 7')
    with pytest.raises(CorrectionError, match=r"'count' is '7', but must be"):
        check_correction(orders, '{"count": "7"}')
    check_correction(orders, '{"count": 7}')


def test_what_is_judged_in_the_sample_is_good_where_the_grader_says_so(tmp_path: Path) -> None:
    workspace = project.open_workspace(small_project(tmp_path).root)
    _, (agent,) = shelf(tmp_path, 1, workspace.store)
    changes.promote(workspace.store, "pets", "desk", "tuned@1", who="ann", force="a test")
    releases.traces_on(workspace, "desk", sample=1.0, days=7, most=100)

    def kept(id: str) -> tuple[str | None, str | None]:
        found = releases.show_trace(workspace, id)
        return found.thumb, found.corrected

    for n, (said, score, left) in enumerate(
        (
            ({"answer": "parrot"}, 1.0, ("up", "parrot")),
            ({"answer": "dog"}, 0.0, ("down", "dog")),
            ({"right": True}, 1.0, ("up", None)),
            ({"skip": True}, None, (None, None)),
        )
    ):
        id, asked = f"trace-{n}", [Message("user", "Who is it?")]
        answer = Message("assistant", "parrot")
        assert traces.record(
            workspace.store, "pets", "desk", agent, id=id, messages=asked, answer=answer
        )
        assert releases.label_trace(workspace, id, **said) == score  # type: ignore[arg-type]
        assert kept(id) == left


def test_a_saved_agent_takes_part_in_a_comparison(tmp_path: Path) -> None:
    """What is served and its successor meet on one holdout; the leaked one is refused."""
    edit = {
        "  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n": "",
        "  - classifier\n": "",
        "  - nearest-answer\n": "",
        "margin:": "baselines: false\nmargin:",
    }
    made = small_project(tmp_path, edit=edit)
    first = made.compare().result
    (prompt,) = history(made.store, "prompt")
    other = next(c for c in first.candidates if c.name == "prompt")
    path = made.root / "assay.yaml"
    text = path.read_text()
    path.write_text(text.replace("max_new_tokens: 8", "max_new_tokens: 9"))
    assert text != path.read_text()
    again = project.open(made.root).compare(agents=[prompt.label], reason="a successor")
    by_name = {c.name: c for c in again.result.candidates}
    assert by_name["prompt-1"].agent == other.agent
    assert by_name["prompt-1"].score == other.score
    assert by_name["prompt"].agent != other.agent
    assert again.result.opening.number == 2
    assert {("prompt", "prompt-1")} <= {(p.a, p.b) for p in again.result.pairs}
    held = (made.split_folder / "holdout.jsonl").read_text().splitlines()[0]
    cheat = Agent(model="m", shown=(tuple(json.loads(held)["messages"]),))
    saved = save_agent(made.store, "cheat", cheat, message="shows a holdout row")
    with pytest.raises(HoldoutError, match="cheat@1 was made from 1 row that"):
        project.open(made.root).compare(agents=[saved.label])
    assert len(project.open(made.root).openings()) == 2


@pytest.mark.slow
def test_a_version_knows_its_rows_and_a_deleted_example_its_versions(tmp_path: Path) -> None:
    made = small_project(tmp_path)
    trained = made.train()
    looks_up = build("nearest-answer", made.context()).agent
    save_agent(made.store, "looks-up", looks_up, message="for a test")
    (row,) = versions.versions(made.store)
    assert row["id"] == trained.version
    shown = versions.version(made.store, trained.version[:8])
    assert shown["record"]["split"] == made.split().holdout_sha256
    assert shown["rows"]["train"] == made.split().train
    assert shown["rows"]["validation"] == made.split().validation
    example = made.show("train", 1)[0]
    found = made.find_uses(example.id)
    assert [(v["id"], v["as"]) for v in found["versions"]] == [(trained.version, ["train"])]
    assert found["agents"] == ["looks-up@1"]
    # The row is deleted from the file: the next split says which versions remember it.
    file = made.root / "data" / "pets.csv"
    with file.open(newline="") as lines:
        kept = [line for line in csv.reader(lines) if line[0] != example.input]
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(kept)
    said: list[str] = []

    class Listener:
        def say(self, line: str) -> None:
            said.append(line)

        task = project.project.SILENT.task

    project.open(made.root).split(Listener())
    [told] = [line for line in said if "no longer in train" in line]
    assert trained.version[:12] in told
    assert "agent looks-up@1" in told
    later = made.find_uses(found["sha256"][:12])
    assert (later["versions"], later["agents"]) == (found["versions"], found["agents"])
    again = project.open(made.root).train()
    assert again.version != trained.version
    difference = versions.diff(made.store, trained.version, again.version)
    assert "data.train" in difference["fields"]
    assert difference["rows"]["train"]["only_first"] >= 1


def test_what_is_kept_is_counted_also_after_keeping_was_switched_off(tmp_path: Path) -> None:
    workspace = project.Workspace(tmp_path)
    _, (first, second, _) = shelf(tmp_path, store=workspace.store)
    releases.promote(workspace, "desk", "tuned@1", force="a trial")
    assert kept_traces(workspace, "desk").count == 0
    releases.traces_on(workspace, "desk", sample=1.0, days=7, most=100)
    for agent in (first, first, second):
        traces.record(
            workspace.store,
            workspace.name,
            "desk",
            agent,
            id=traces.new_id(),
            messages=[Message("user", "Where is my card?")],
            answer=Message("assistant", "card_arrival"),
        )
    releases.traces_off(workspace, "desk", delete=False)
    kept = kept_traces(workspace, "desk")
    newest = releases.list_traces(workspace, "desk", count=1, corrected=False)[0].at
    assert kept.last_day == (newest + timedelta(days=7)).date()
    assert (kept.count, kept.active, kept.of_agent, kept.sampled) == (3, False, 2, 2)
    assert releases.traces_off(workspace, "desk", delete=True) == 3
    assert kept_traces(workspace, "desk").last_day is None
