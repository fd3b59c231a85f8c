"""An account is brought home in the browser, from its key to a model's recorded answers."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from assay.config.yaml_text import edit
from assay.project.workspace import Workspace
from assay.store.secrets import VARIABLE
from tests.rescue.server import KEY, AccountServer, Fault, error, small_account
from tests.rescue.test_plan import animal, sentences
from tests.studio.browsing import PATIENCE_MS, studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
JOB_MS = 3 * PATIENCE_MS
"""Most that a job is waited for, whose worker has to start first."""
MODEL = "ft:gpt-4o-mini-2024-07-18:acme::abc"


def _faults(path: str, times: int) -> Fault | None:
    if path == "/files/file-eval/content":
        return error(404, "No such File object: file-eval")
    return Fault(wait=0.2) if path == "/chat/completions" else None


def _answer_dialog(page: Page, yes: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=yes, exact=True).click()


def _add_key(page: Page, url: str, key: str) -> None:
    """Three things wrong first, each told at its field."""
    page.get_by_role("button", name="Add provider").click()
    expect(page.get_by_text("OpenAI needs a key.")).to_be_visible()
    page.get_by_label("Address of the provider").fill(url)
    page.get_by_label("Key of the provider").fill(key)
    page.get_by_role("button", name="Add provider").click()
    expect(page.get_by_text("use https://")).to_be_visible()
    page.get_by_role("checkbox", name="It runs on this machine").click()
    page.get_by_role("button", name="Add provider").click()
    expect(page.get_by_text("There is a key: openai")).to_be_visible()


def test_an_account_is_brought_home(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{VARIABLE}_FILE", str(tmp_path / "master"))
    account, folder = small_account(completions=2, items=3), tmp_path / "folder"
    account.contents["/files/file-train/content"] = rows = sentences(120, seed=3)
    account.lists["/files"][0]["bytes"] = len(rows)
    folder.mkdir()
    served = AccountServer(account, faults=_faults, answer=animal)
    with (
        served.running() as server,
        studio(folder) as up,
        signed_in(browser, up, "admin") as visitor,
    ):
        local = {"base_url": server.url, "private_network": True}
        Workspace(folder).providers.add("local", local, None, keyless=True)
        page = visitor.open("/rescue")
        expect(page.get_by_text("There is a key")).to_have_count(0)
        _add_key(page, server.url, "sk-mistyped")
        fetch = page.get_by_role("button", name=re.compile("^Fetch"))
        fetch.click()
        expect(page.get_by_role("dialog")).to_contain_text(server.url)
        assert not server.requests
        _answer_dialog(page, "Fetch")
        expect(page.get_by_text("the key is refused").first).to_be_visible(timeout=JOB_MS)
        expect(page.get_by_role("link", name="Replace the key")).to_be_visible()
        expect(page.get_by_text("command")).to_have_count(0)
        Workspace(folder).providers.add("openai", None, KEY)
        fetch.click()
        _answer_dialog(page, "Fetch")
        missing = page.get_by_role("region", name="What could not be had")
        expect(missing).to_contain_text("No such File object: file-eval", timeout=JOB_MS)
        assert server.methods == {"GET"}
        assert (folder / "rescued/account/files/file-train.jsonl").read_bytes() == rows
        expect(page.get_by_text("6. Change the calling program")).to_have_count(0)
        proxy = {
            "base_url": server.url.replace("127.0.0.1", "localhost"),
            "private_network": True,
            "prices": {MODEL: {"input": 1, "output": 2}},
        }
        Workspace(folder).providers.add("a-proxy", proxy, KEY)
        successor = page.get_by_label("Successor", exact=True)
        successor.fill("nobody/big")
        page.get_by_role("button", name="Make projects").click()
        expect(page.get_by_text("No key here is of the provider of nobody/big.")).to_be_visible()
        successor.fill("openai/big")
        page.get_by_role("button", name="Make projects").click()
        expect(page.get_by_role("dialog")).to_contain_text("Nothing is sent now.")
        _answer_dialog(page, "Make projects")
        estimate = page.get_by_role("button", name=f"Estimate and record {MODEL}")
        expect(estimate).to_be_enabled(timeout=JOB_MS)
        estimate.click()
        record = page.get_by_role("button", name=f"Record answers of {MODEL}")
        taught = page.get_by_role("row").filter(has_text="train").filter(has_text="teacher's")
        expect(taught).to_contain_text("little")
        expect(page.get_by_text("train: Answers to training rows take the place")).to_be_visible()
        record.click()
        expect(page.get_by_text("This cannot be empty. Enter a number.")).to_have_count(2)
        for key, prices in (("a-proxy", 0), ("openai", 2)):
            page.get_by_label("Key of the account").last.click()
            page.get_by_role("option", name=key).click()
            expect(page.get_by_label(re.compile("USD per million"))).to_have_count(prices)
        page.get_by_label("USD per million prompt tokens").fill("0.3")
        page.get_by_label("USD per million answer tokens").fill("1.2")
        record.click()
        assert server.methods == {"GET"}
        _answer_dialog(page, "Record")
        expect(page.get_by_text(re.compile(r"Recording: \d+ of"))).to_be_visible(timeout=JOB_MS)
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_text("120 answers of it are recorded.")).to_be_visible(timeout=JOB_MS)
        assert len(server.posted) <= 120 + 4  # those under way when it was paused
        assert KEY not in page.content()
        settings = folder / "rescued" / "projects" / "abc" / "assay.yaml"
        made = settings.read_text()
        assert "remote: remote:openai/big" in made
        assert "remote-few-shot" in made
        quick = {"candidates": ["baseline-tfidf", "remote"], "baselines": False}
        settings.write_text(edit(made, quick))
        page.get_by_role("button", name=f"Compare with {MODEL}").click()
        expect(page.get_by_role("dialog")).to_contain_text(
            "The price of remote:openai/big is not known"
        )
        _answer_dialog(page, "Compare")
        beside = page.get_by_role("region", name=f"Candidates beside {MODEL}")
        expect(beside).to_contain_text("not proven to be no worse", timeout=2 * JOB_MS)  # few rows
        expect(
            page.get_by_text(re.compile("behind .?outgoing.?, which scores 100"))
        ).to_be_visible()
        page.get_by_text("Then promote and serve").click()
        commands = page.get_by_role("region", name=f"Commands for {MODEL}")
        expect(commands).to_contain_text(f"assay release promote {MODEL} AGENT@VERSION")
        port = (urlsplit(up.url).port or 0) + 1
        expect(commands).to_contain_text(f"--port {port}")
        program = page.get_by_role("region", name="The calling program", exact=True)
        expect(program).to_contain_text(f"127.0.0.1:{port}/v1")
        visitor.axe()
        page.set_viewport_size({"width": 390, "height": 844})
        visitor.fits()
        assert any(body["model"] == "big" for body in server.posted)
    assert not [one for one in folder.rglob("*") if _holds(one, KEY)]


def _holds(file: Path, secret: str) -> bool:
    return file.is_file() and secret.encode() in file.read_bytes()
