"""Trainings, searches and learning curves are begun on the page, and what came of them is shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from assay.jobs import queue
from assay.project import jobs
from assay.project.workspace import Workspace
from assay.studio.frame import VIEW_ONLY
from tests.many_rows import project
from tests.studio.browsing import Studio, studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
BEST = {"learning_rate": 0.002, "rank": 8, "epochs": 2, "rows_per_step": 8}
SWEPT = {
    "trials": [
        {"number": 0, "state": "finished", "settings": {**BEST, "rank": 16}, "loss": 0.41,
         "epochs_done": 2, "error": None},
        {"number": 1, "state": "finished", "settings": BEST, "loss": 0.32,
         "epochs_done": 2, "error": None},
        {"number": 2, "state": "stopped early", "settings": {**BEST, "epochs": 4}, "loss": 0.9,
         "epochs_done": 1, "error": None},
    ],
    "best": {"number": 1, "state": "finished", "settings": BEST, "loss": 0.32, "epochs_done": 2,
             "error": None},
    "diff": "-old\n+new\n",
    "written": False,
}  # fmt: skip
CURVE = {
    "candidate": "fine-tune",
    "primary": "label-accuracy",
    "points": [
        {"rows": 20 * 2**i, "scores": [0.3 + 0.1 * i, 0.32 + 0.1 * i, 0.29 + 0.1 * i]}
        for i in range(5)
    ],
    "doubling": {
        "now": {"size": 320, "score": 0.7, "low": 0.66, "high": 0.74},
        "then": {"size": 640, "score": 0.76, "low": 0.7, "high": 0.82},
        "gain": 0.06, "gain_low": 0.02, "gain_high": 0.1,
    },
    "backtest": {
        "prediction": {"size": 320, "score": 0.69, "low": 0.64, "high": 0.75},
        "observed": 0.7, "covered": True,
    },
}  # fmt: skip
MISSED = CURVE | {"doubling": None, "backtest": CURVE["backtest"] | {"covered": False}}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("training") / "tickets"
    folder.mkdir()
    project(folder, 60)
    with studio(folder, "--idle") as running:
        yield running


def _done(up: Studio, kind: str, result: dict[str, object]) -> str:
    store = Workspace(up.folder).store
    id = queue.enqueue(store, Workspace(up.folder).name, kind, {})
    job = queue.claim(store, "test", [kind])
    assert job is not None
    queue.finish(store, job, result)
    return id


def test_a_training_is_begun_and_can_be_cancelled(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/training")
        page.get_by_role("button", name="Train a version").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("status")).to_contain_text("on this machine")
        dialog.get_by_role("combobox", name="Effort").click()
        page.get_by_role("option", name="Quick").click()
        dialog.get_by_label("Name of the agent").fill("a name")
        expect(dialog.get_by_text("'a name' is not a valid agent name.")).to_be_visible()
        expect(dialog.get_by_role("status")).to_be_empty()
        expect(dialog.get_by_role("button", name="Start")).to_be_disabled()
        dialog.get_by_label("Name of the agent").fill("desk")
        expect(dialog.get_by_role("status")).to_contain_text("on this machine")
        visitor.axe("color-contrast")  # it takes what lies under the dialog for its ground
        dialog.get_by_role("button", name="Start").click()
        expect(page.get_by_text("Waiting for a worker.")).to_be_visible()
        [job] = queue.jobs(Workspace(up.folder).store)
        assert job.kind == "train"
        assert job.payload == {"model": None, "effort": "quick", "name": "desk"}
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("Cancelled").first).to_be_visible()
        page.get_by_role("button", name="Draw a learning curve").click()
        dialog = page.get_by_role("dialog")  # 60 rows are too few for one
        expect(dialog.get_by_role("status")).to_contain_text("too few for a learning curve")
        expect(dialog.get_by_role("button", name="Start")).to_be_disabled()
        chosen = dialog.get_by_role("combobox", name="Candidate of the curve")
        expect(chosen).to_have_value("Word-count classifier")
        chosen.click()
        expect(page.get_by_role("option", name="Fine-tuned model", exact=True)).to_be_visible()
        # It is the same with more rows, and would have a flat curve with much confidence.
        expect(page.get_by_role("option", name="System prompt alone")).to_have_count(0)
        page.keyboard.press("Escape")
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_have_count(0)


def test_the_best_of_a_search_goes_into_the_settings(browser: Browser, up: Studio) -> None:
    id = _done(up, "sweep", SWEPT)
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open(f"/training?id={id}")
        expect(page.get_by_role("region", name="Settings tried")).to_be_visible()
        expect(page.get_by_role("button", name="Save the best settings")).to_have_count(0)
        expect(page.get_by_role("button", name="Train a version")).to_have_count(0)
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open(f"/training?id={id}")
        rows = page.get_by_role("region", name="Settings tried").get_by_role("row")
        expect(rows).to_have_count(4)
        expect(rows.nth(2)).to_contain_text("best")
        visitor.axe()
        page.get_by_role("button", name="Save the best settings").click()
        expect(page.get_by_text("The best settings were saved.")).to_be_visible()
    config = Workspace(up.folder).config
    assert config is not None
    assert (config.fine_tune.learning_rate, config.fine_tune.rank) == (0.002, 8)


def test_a_curve_is_drawn_and_fits_a_phone(browser: Browser, up: Studio) -> None:
    id = _done(up, "curve", CURVE)
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open(f"/training?id={id}")
        expect(page.get_by_role("img", name="learning curve of Fine-tuned model")).to_be_visible()
        expect(page.get_by_text("Twice the data (640 rows)")).to_be_visible()
        expect(page.get_by_text("forecast", exact=True)).to_be_visible()
        page.set_viewport_size({"width": 390, "height": 844})
        visitor.axe()
        visitor.fits()
        page = visitor.open(f"/training?id={_done(up, 'curve', MISSED)}")
        expect(page.get_by_role("img", name="learning curve of Fine-tuned model")).to_be_visible()
        expect(page.get_by_text("No forecast for twice the data")).to_be_visible()
        expect(page.get_by_text("forecast", exact=True)).to_have_count(0)


def test_rewards_are_shown_as_rewards_with_some_answers(browser: Browser, up: Studio) -> None:
    store = Workspace(up.folder).store
    id = queue.enqueue(store, Workspace(up.folder).name, "train", {})
    job = queue.claim(store, "test", ["train"])
    assert job is not None
    for step in range(4):
        answers = [{"row": f"row-{step}", "answer": f"answer {step}", "reward": 0.75}]
        drawn = {"train_reward_mean": 0.1 * step, "train_completion_tokens_mean": 5.0}
        measured = {"valid_reward_mean": 0.2 * step, "valid_completion_tokens_mean": 4.0,
                    "kl": 0.01 * step, "other_graders": {"label-accuracy": 0.5},
                    "repeated": 0.0}  # fmt: skip
        for data in ({**drawn, "rollouts": answers}, measured)[step == 0 :]:
            data = {"step": step, "total_steps": 9, **data}
            queue.note(store, job, "step", data, kind="metrics")
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open(f"/training?id={id}")
        expect(page.get_by_role("img", name="reward by step")).to_be_visible()
        expect(page.get_by_role("img", name="tokens of an answer by step")).to_be_visible()
        expect(page.get_by_role("img", name="KL by step")).to_be_visible()
        expect(page.get_by_text("best reward on validation")).to_be_visible()
        expect(page.get_by_text("label-accuracy on validation")).to_be_visible()
        expect(page.get_by_text("train loss")).to_have_count(0)
        page.get_by_text("Answers of step 3").click()
        table = page.get_by_role("region", name="Answers and their rewards")
        expect(table).to_contain_text("answer 3")
        visitor.axe()
        data = {"step": 4, "total_steps": 9, **drawn}
        queue.note(store, job, "step", data, kind="metrics")
        expect(page.get_by_text("4 of 9")).to_be_visible()
        expect(table).to_be_visible()  # what is read stays open at the next step
    queue.stop(store, job, "cancel")


def test_a_running_comparison_is_told_beside_what_is_edited(browser: Browser, up: Studio) -> None:
    workspace = Workspace(up.folder)
    note = "A comparison is running on its own copy"
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.page
        expect(visitor.open("/settings").get_by_role("heading", level=1)).to_be_visible()
        expect(visitor.page.get_by_text(note)).to_have_count(0)
        queue.enqueue(workspace.store, workspace.name, jobs.COMPARE, {})
        for path in ("/compare", "/data", "/settings"):
            waits = visitor.open(path).get_by_text("A comparison waits.")
            expect(waits).to_contain_text("documents: your edits count from the next run")
            expect(page.get_by_text(VIEW_ONLY)).to_have_count(1)
        visitor.open("/training")
        expect(page.get_by_text(VIEW_ONLY)).to_have_count(1)
        job = queue.claim(workspace.store, "test", [jobs.COMPARE])
        assert job is not None
        for path in ("/compare", "/data"):
            expect(visitor.open(path).get_by_text(note)).to_be_visible()
        queue.ask(workspace.store, job.id, "pause")
        queue.stop(workspace.store, job, "pause")
        begun = visitor.open("/settings").get_by_text("A comparison has begun and waits.")
        expect(begun).to_contain_text("your edits count from the next run")
        queue.ask(workspace.store, job.id, "cancel")
