"""Names and texts that are code where a page takes them for it: none runs in the real browser.

A name ends the attribute that it is formatted into, a key begins with the colon that makes NiceGUI
evaluate what follows, a text is a tag. They come in where somebody of little trust writes: files
over the API, rows of a data set, requests that are kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.studio.browsing import PATIENCE_MS, Studio, Tab, chromium, studio, tab

from assay import project
from assay.accounts import people
from assay.accounts.keys import create_key
from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.config import STARTER_MODEL
from assay.project.start.init import Choices
from assay.project.workspace import Workspace
from assay.release import changes, policies, releases
from assay.store.tables import TraceRow
from assay.studio.pages import PAGES

pytestmark = pytest.mark.slow
expect.set_options(timeout=PATIENCE_MS)
RUN = "globalThis.ran=1"
ENDS_DOUBLE = f'a" :data-x="{RUN}" b="'
ENDS_SINGLE = f"a' :data-x='{RUN}' b='"
TAG = f"<img src=x onerror={RUN}>"
TEMPLATE = "{{" + RUN + "}}"
NAMES = (ENDS_DOUBLE, ENDS_SINGLE, TAG, TEMPLATE, f":data-x={RUN}", f"b :data-x={RUN}")
KEYS = {**dict.fromkeys(NAMES, RUN), ":data-x": RUN, ":onclick": RUN, "onclick": RUN}
LOADED_S = 120.0
LEFT = """() => ({
  ran: globalThis.ran ?? null,
  props: document.querySelectorAll('[data-x], [onclick]').length,
  tags: document.querySelectorAll('img[src="x"]').length,
})"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio over a folder in which whatever has a name has a hostile one."""
    folder = tmp_path_factory.mktemp("hostile") / "hostile"
    workspace = _filled(folder)
    secret = create_key(workspace.store, workspace.name, "uploads", ["files", "knowledge"])[1]
    with studio(folder) as running:
        _uploaded(running.url, secret)
        yield running


@pytest.fixture(scope="module")
def admin(hostile: Studio) -> Iterator[Tab]:
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1320, "height": 900})
        made = tab(context, hostile.url)
        made.page.goto(hostile.link)
        yield made
        context.close()


def _filled(folder: Path) -> Workspace:
    data = folder.parent / "rows.jsonl"
    with data.open("w", encoding="utf-8") as file:
        for number in range(60):
            words = f"{NAMES[number % len(NAMES)]} says customer {number} of {number * 37 % 101}"
            label = TAG if number % 2 else ENDS_DOUBLE
            file.write(json.dumps({"message": words, "label": label, **KEYS}) + "\n")
    project.create(
        project.draft("hostile", Choices(data=data, input=["message"], output=["label"])),
        folder=folder,
    )
    workspace = Workspace(folder)
    for name in NAMES:
        people.add(workspace, name, "viewer")
        create_key(workspace.store, workspace.name, name, ["chat"])
    saved = save_agent(
        workspace.store,
        "hostile",
        Agent(model=STARTER_MODEL, system_prompt=" ".join(NAMES)),
        message=ENDS_DOUBLE,
    )
    changes.promote(
        workspace.store, workspace.name, "hostile", saved.label, who=f"user:{TAG}", force=TAG
    )
    policies.switch_on(workspace.store, workspace.name, "hostile", who=f"user:{ENDS_DOUBLE}")
    agent = releases.current(workspace.store, workspace.name, "hostile").agent
    with workspace.store.session() as session:
        for number, name in enumerate(NAMES):
            session.add(
                TraceRow(
                    id=f"trace-{number:024x}", project=workspace.name, release="hostile",
                    agent=agent, messages=[{"role": "user", "content": name}], tools=[],
                    answer={"role": "assistant", "content": TAG}, usage={}, masked=0,
                    sampled=True, thumb="down", corrected=ENDS_DOUBLE,
                )
            )  # fmt: skip
    return workspace


def _uploaded(url: str, secret: str) -> None:
    """By a key that may do no more: a file is called as its sender likes."""
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"{url}/v1", headers=headers) as client:
        made = client.post("/vector_stores", json={"name": ENDS_DOUBLE}).json()["id"]
        for name in NAMES:
            boundary = "part"
            head = f'Content-Disposition: form-data; name="file"; filename="{_quoted(name)}.md"'
            body = (
                f"--{boundary}\r\n{head}\r\n\r\n# {name}\n\nThe anchor of {name}.\r\n"
                f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n'
                f"assistants\r\n--{boundary}--\r\n"
            )
            kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            file = client.post("/files", content=body.encode(), headers=kind).json()
            assert file["filename"] == f"{name}.md"
            client.post(f"/vector_stores/{made}/files", json={"file_id": file["id"]})
        end = time.monotonic() + LOADED_S
        while client.get(f"/vector_stores/{made}").json()["file_counts"]["in_progress"]:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert client.get(f"/vector_stores/{made}").json()["file_counts"]["completed"] == len(NAMES)


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def nothing_ran(page: Page) -> None:
    page.wait_for_timeout(300)
    assert page.evaluate(LEFT) == {"ran": None, "props": 0, "tags": 0}


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_no_page_runs_a_name(admin: Tab, path: str) -> None:
    page = admin.open(path)
    expect(page.locator(".waiting")).to_have_count(0)
    nothing_ran(page)


def test_names_of_documents_are_shown_and_run_nothing(admin: Tab) -> None:
    page = admin.open("/knowledge")
    for name in NAMES:
        expect(page.get_by_role("button", name=f"/{name}.md")).to_have_count(2)
    page.get_by_role("button", name=f"/{ENDS_DOUBLE}.md").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("The anchor of")
    nothing_ran(page)


def test_keys_of_rows_are_shown_and_run_nothing(admin: Tab) -> None:
    page = admin.open("/data")
    # Rows are there, empty, before what they hold is.
    page.locator(".ag-row").filter(has_text="says customer").first.click()
    dialog = page.get_by_role("dialog")
    for key in KEYS:
        expect(dialog.get_by_label(key, exact=True)).to_be_visible()
    nothing_ran(page)


def test_names_of_people_and_keys_are_shown_and_run_nothing(admin: Tab) -> None:
    page = admin.open("/people?part=people")
    for name in NAMES:
        expect(page.get_by_role("button", name=f"Remove {name}", exact=True)).to_be_visible()
    nothing_ran(page)
    page = admin.open("/people?part=keys")
    for name in NAMES:
        expect(page.get_by_role("button", name=f"Revoke {name}", exact=True).first).to_be_visible()
    page.get_by_role("button", name=f"Revoke {TAG}", exact=True).first.click()
    expect(page.get_by_role("dialog")).to_contain_text(TAG)
    nothing_ran(page)
