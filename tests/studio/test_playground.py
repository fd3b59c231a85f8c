"""What an answer rested on, who gave it, what it calls: passages, the route taken, functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from assay import project
from assay.agent.agent import Agent, Knowledge, make_routed
from assay.agent.route import Rule, Rules
from assay.agent.versions import save_agent
from assay.compare import records
from assay.example import Message, ToolCall, call_text
from assay.jobs import queue
from assay.project import releases
from assay.project.knowledge import documents
from assay.project.start.init import Choices
from assay.project.workspace import Workspace
from assay.release import changes, policies, traces
from tests.compare.sample import sample_result, sample_rows
from tests.studio.browsing import Studio, studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
MODEL = "smollm2-135m-instruct"
PORTS = ("Kiel", "Oslo")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("playground") / "folder"
    data = folder.parent / "rows.jsonl"
    data.write_text(
        "".join(json.dumps(row(f"Sail {n} to {'abcdefghijkl'[n] * 9}")) + "\n" for n in range(12))
    )
    project.create(project.draft("folder", Choices(data=data)), folder=folder).split()
    workspace = Workspace(folder)
    for name, said in (("refunds.md", "Money is paid back."), ("ramps.md", "The ramp is steep.")):
        (folder.parent / name).write_text(f"# About it\n\n{said}\n")
        source = documents.keep(workspace, "manuals", name, folder.parent / name)
        documents.add(workspace, "manuals", [source])
    knowing = Agent(model=MODEL, knowledge=Knowledge(name="manuals", k=1, characters=2000))
    save_agent(workspace.store, "plain", Agent(model=MODEL), message="begun")
    known = save_agent(workspace.store, "knowing", knowing, message="begun")
    rules = Rules(rules=(Rule(to=known.agent, pattern="paid"),), otherwise=known.agent)
    save_agent(workspace.store, "choosing", make_routed(rules), message="begun")
    with studio(folder) as running:
        yield running


def row(question: str) -> dict[str, Any]:
    function = {"name": "find_ferry", "arguments": json.dumps({"asked": question})}
    call = {"id": "c", "type": "function", "function": function}
    turns = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    return {"messages": turns, "tools": [{"type": "function", "function": {"name": "find_ferry"}}]}


def test_passages_and_route_are_shown(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open("/playground")
        page.get_by_role("combobox", name="Send to", exact=True).click()
        for name in ("plain", "knowing", "choosing"):
            option = page.get_by_role("option", name=f"{name} · agent")
            if option.get_attribute("aria-selected") != "true":
                option.click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Send", exact=True).click()
        missing = page.get_by_text("Write a message first.")
        expect(missing).to_be_visible()
        page.get_by_role("textbox", name="Message").fill("Is my money paid back?")
        expect(missing).to_have_count(0)
        page.get_by_role("button", name="Send", exact=True).click()

        def column(name: str) -> Locator:
            return page.locator(".columns .card").filter(
                has=page.get_by_role("heading", name=name, exact=True)
            )

        expect(page.get_by_text("Time to first token")).to_have_count(3)
        for name in ("knowing", "choosing"):
            column(name).get_by_text("Passages used").click()
            used = column(name).get_by_role("region", name="Passages used")
            expect(used).to_contain_text("refunds.md")
            expect(used).to_contain_text("Money is paid back.")
            expect(used).not_to_contain_text("ramp")
        expect(column("plain").get_by_text("Passages used")).to_have_count(0)
        expect(column("choosing").locator("dl")).to_contain_text("Routeknowing")
        expect(column("knowing").locator("dl")).not_to_contain_text("Route")
        visitor.axe()
        page.set_viewport_size({"width": 390, "height": 844})
        page.get_by_role("combobox", name="Send to", exact=True).click()
        # What lies under the list is not seen through it.
        expect(page.locator(".q-menu")).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")


def test_a_call_is_shown_as_a_call_everywhere(browser: Browser, up: Studio) -> None:
    """Its name and arguments, and no JSON of the model's."""
    asked = _call_everywhere(Workspace(up.folder))
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open("/playground")
        expect(
            page.get_by_text("May be called, as in the first training row: find_ferry.")
        ).to_be_visible()
        page.get_by_role("textbox", name="Message").fill("Please call it")
        page.get_by_role("button", name="Send", exact=True).click()
        calls = page.locator(".calls")
        expect(calls.first).to_have_text('find_ferry(to: "Kiel", cars: 2)')
        expect(page.get_by_text("tool_call")).to_have_count(0)
        expect(page.get_by_text("(empty answer)")).to_have_count(0)
        visitor.axe()

        page = visitor.open("/releases?name=sailing")
        page.get_by_text(f'Answer: find_ferry(asked: "{asked}")').click()
        expect(calls.filter(visible=True)).to_have_text([f'find_ferry(asked: "{asked}")'] * 2)
        page = visitor.open("/compare")
        answer = page.locator(".answer-row").first
        expect(answer).to_contain_text('find_ferry(asked: "before")')
        expect(answer.locator(".calls").first).to_have_text('find_ferry(asked: "Kiel")')
        expect(answer.locator(".differs")).to_have_text(["Oslo"])
        page = visitor.open("/training")
        page.get_by_text("Answers of step 1").click()
        expect(calls).to_have_text('find_ferry(asked: "Kiel")')
        page = visitor.open("/data")
        page.get_by_role("gridcell", name=re.compile("^find_ferry")).first.click()
        expect(calls).to_have_text(re.compile(r'^find_ferry\(asked: "Sail'))
        visitor.axe()


def _call_everywhere(workspace: Workspace) -> str:
    """A trace, a comparison and a training whose answers are calls; what the trace asked."""
    store, asked = workspace.store, "Sail to <b>Kiel</b>"
    agent = Agent(model=MODEL, system_prompt="Call.")
    label = save_agent(store, "calling", agent, message="begun").label
    changes.promote(store, workspace.name, "sailing", label, who="cli:ann", force="a test")
    policies.switch_on(store, workspace.name, "sailing", who="cli:ann")
    call = ToolCall("c", "find_ferry", json.dumps({"asked": asked}))
    turns = [Message("user", "Please"), Message("assistant", "", (call,)), Message("tool", "none")]
    answer = Message("assistant", "", (call,))
    traces.record(
        store, workspace.name, "sailing", agent.id, id="t", messages=turns, tools=[], answer=answer
    )

    right, wrong = (call_text(ToolCall("", "find_ferry", f'{{"asked": "{to}"}}')) for to in PORTS)
    result = sample_result(60)
    known = [one.model_copy(update={"agent": agent.id}) for one in result.candidates]
    result = result.model_copy(update={"task": "tools", "candidates": known})
    rows = [
        one.model_copy(
            update={
                "input": 'find_ferry(asked: "before")',
                "reference": right,
                "answers": {name: right if one.scores[name] else wrong for name in one.answers},
            }
        )
        for one in sample_rows(60)
    ]
    folder = store.folder / "comparisons" / result.comparison[:16]
    records.save_plan(store, result.comparison, "d" * 64, result.plan, folder)
    records.save_result(store, result, rows, folder)

    queue.enqueue(store, workspace.name, "train", {})
    job = queue.claim(store, "test", ["train"])
    assert job is not None
    drawn = [{"row": "row-1", "answer": right, "reward": 1.0}]
    data = {"step": 1, "total_steps": 9, "train_reward_mean": 1.0, "rollouts": drawn}
    queue.note(store, job, "step", {**data, "train_completion_tokens_mean": 5.0}, kind="metrics")
    return asked


def test_a_release_is_called_by_the_agent_that_answers_now(
    browser: Browser, up: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The gate would load the starter; tests/project has it.
    monkeypatch.setattr(releases, "_gate", lambda workspace, engines, progress: None)
    workspace = Workspace(up.folder)
    releases.promote(workspace, "help", "plain@1", force="a test")
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open("/playground")
        page.get_by_role("textbox", name="Message").fill("Hello")
        releases.promote(workspace, "help", "knowing@1", force="a test")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_role("heading", name="help (knowing)", exact=True)).to_be_visible()
