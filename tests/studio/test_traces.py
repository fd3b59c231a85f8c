"""Traces of other programs in the browser: the jobs they are of, and a project of one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from assay.config import CONFIG_FILE
from assay.defaults import IMPORTED_TRACES, TRACE_PROJECTS
from assay.project.imported import import_traces
from tests.studio.browsing import PATIENCE_MS, studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
JOB_MS = 3 * PATIENCE_MS
DESKS = "Name the desk that answers the message of the customer, one of cards, loans or transfers."
THINGS = {"cards": ("card", "PIN", "limit"), "loans": ("loan", "rate", "mortgage")}
PLACES = ("Morvane", "Kelsay", "Brindle", "Tarn", "Ashby", "Corl", "Dunmore", "Eskdale")
VERBS = ("lost", "ordered", "blocked", "asked for", "paid for", "renewed", "found", "changed")


def write_calls(file: Path) -> None:
    """130 calls that sort messages, of which 60 were rated up, and two that do something else."""
    rows = []
    for number in range(130):
        desk = ("cards", "loans")[number % 2]
        thing = THINGS[desk][number // 2 % 3]
        said = f"In {PLACES[number % 8]} I {VERBS[number // 8 % 8]} my {thing}, {number} days ago."
        row = {"id": str(number), "model": "gpt-4o-mini", "system": DESKS, "prompt": said}
        row |= {"completion": desk, "seconds": 0.4, "prompt_tokens": 40, "completion_tokens": 1}
        rows.append(row | ({"thumb": "up"} if number < 60 else {}))
    for word in ("sea", "hill"):
        verse = {"system": "Write a poem about what the user names.", "prompt": word}
        rows.append({**verse, "completion": f"O {word}!"})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_job_becomes_a_project(browser: Browser, tmp_path: Path) -> None:
    folder, calls = tmp_path / "folder", tmp_path / "calls.jsonl"
    folder.mkdir()
    with studio(folder) as up, signed_in(browser, up, "admin") as visitor:
        page = visitor.open("/traces")
        expect(page.get_by_text("There are none yet.")).to_be_visible()
        own = page.get_by_text(
            "Traces of your own releases are under Releases, where none is kept."
        )
        expect(own).to_be_visible()
        page.get_by_text("How traces come here").click()
        expect(page.get_by_text("--scope", exact=False)).to_have_count(0)
        program = page.get_by_role("region", name="Environment of a program that sends traces")
        expect(program).to_contain_text(f"{up.url}/v1/traces")

        write_calls(calls)
        assert [one.added for one in import_traces([calls], folder / IMPORTED_TRACES, None)] == [
            132
        ]
        page.reload()
        page.get_by_role("button", name="Look for jobs").click()
        expect(page.get_by_text("132 traces of 2 jobs")).to_be_visible(timeout=JOB_MS)
        (first, _) = page.locator("section", has_text="Could something cheaper do this?").all()
        expect(first).to_contain_text("Name the desk that answers")
        for figure in ("130", "0.40 s", "Labels"):
            expect(first.locator(".figure", has_text=re.compile(f"^{figure}"))).to_have_count(
                2 if figure == "0.40 s" else 1
            )
        expect(first).to_contain_text("2 different answers in 130 calls")
        expect(first).to_contain_text("need no language model")

        name = first.get_by_role("textbox", name=re.compile("^Name for job"))
        expect(name).to_have_value("name-the-desk")
        make = first.get_by_role("button", name=re.compile("^Make a project of"))
        name.fill("No Name")
        make.click()
        expect(first).to_contain_text("cannot be the name of a project")
        name.fill("desks")
        make.click()
        expect(page.get_by_text("of 60 labelled rows are the holdout")).to_be_visible(
            timeout=JOB_MS
        )
        commands = page.get_by_role("region", name="Commands for desks")
        expect(commands).to_contain_text("assay compare")
        assert (folder / TRACE_PROJECTS / "desks" / CONFIG_FILE).exists()
        visitor.axe()
        page.screenshot(path=tmp_path / "traces.png", full_page=True)
        page.set_viewport_size({"width": 390, "height": 844})
        visitor.fits()
