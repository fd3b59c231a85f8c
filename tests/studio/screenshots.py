"""One picture of every page, for the docs: `make screenshots`.

python -m tests.studio.screenshots [FOLDER OF PICTURES]

The report of `make demo`, if it has been run, becomes the README's picture.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import FilePayload, Page

from assay.project import agents
from assay.project.workspace import Workspace
from assay.studio.pages import PAGES
from tests.studio.browsing import ROOT, chromium, studio


def _booklet(name: str, text: str) -> FilePayload:
    return {"name": name, "mimeType": "text/markdown", "buffer": text.encode()}


SIZE = {"width": 1320, "height": 900}
REPORT, REPORT_SIZE = ROOT / "demo" / "records" / "report.html", {"width": 1000, "height": 1150}
SETTLED_MS = 1200
SLOW_MS = 300_000
BOOKLETS = [
    _booklet("lost-property.md", "# Lost property\n\nWhat is found on board is kept for 60 days."),
    _booklet("refunds.md", "# Refunds\n\nA crossing that did not sail is paid back in full."),
    _booklet("boarding.md", "# Boarding\n\nThe ramp closes ten minutes before departure."),
]


HANDBOOK = """model: smollm2-135m-instruct
system_prompt: Write the record of the message.
knowledge: {name: documents, k: 2, characters: 4000}
"""


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, chromium() as browser:
        with studio(Path(made) / "tickets", "--fill", "--record") as running:
            page = browser.new_page(viewport=SIZE, color_scheme="light")
            page.goto(running.link)
            for entry in PAGES:
                page.goto(f"{running.url}/studio{entry.path}")
                if entry.path in _READY:
                    _READY[entry.path](page, running.folder)
                name = entry.path.strip("/") or "start"
                _shoot(page, target / f"{name}.png")
            page.emulate_media(color_scheme="dark")
            for path in ("agent", "compare"):
                page.goto(f"{running.url}/studio/{path}")
                if path == "agent":
                    _edited(page, running.folder)
                _shoot(page, target / f"{path}-dark.png")
            page.set_viewport_size({"width": 390, "height": 844})
            page.emulate_media(color_scheme="light")
            for path in ("compare", "releases", "settings"):
                page.goto(f"{running.url}/studio/{path}")
                if path == "settings":
                    _edited(page, running.folder)
                _shoot(page, target / f"{path}-phone.png")
            page.close()
        empty = Path(made) / "empty"
        empty.mkdir()
        with studio(empty) as running:
            page = browser.new_page(viewport=SIZE, color_scheme="light")
            page.goto(running.link)
            _shoot(page, target / "start-empty.png")
            page.get_by_role("button", name="Use built-in examples").click()
            page.get_by_role("button", name="Create project").wait_for()
            _shoot(page, target / "start-found.png")
            page.close()
        if REPORT.exists():
            page = browser.new_page(viewport=REPORT_SIZE, color_scheme="light")
            page.goto(REPORT.as_uri())
            _shoot(page, target.parent / "report.png")
            page.close()


def _ask(page: Page, folder: Path) -> None:
    agents.save(Workspace(folder), "handbook", HANDBOOK, based_on=None, message="")
    page.reload()
    page.get_by_role("combobox", name="Send to", exact=True).click()
    page.get_by_role("option", name="Fixed examples · agent").click()
    page.get_by_role("option", name="handbook · agent").click()
    page.keyboard.press("Escape")
    words = "left a green thermos on the upper deck, Port Morvane to Kelsay on the 3rd"
    page.get_by_role("textbox", name="Message").fill(words)
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Time to first token").nth(1).wait_for(timeout=SLOW_MS)
    page.get_by_text("Passages used").click()


def _edited(page: Page, folder: Path) -> None:
    page.locator(".cm-editor").first.wait_for(timeout=SLOW_MS)


def _began(page: Page, folder: Path) -> None:
    page.get_by_role("button", name="Train a version").wait_for()


def _bring(page: Page, folder: Path) -> None:
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_text("Drop documents here").wait_for()
    page.locator("input[type=file]").set_input_files([*BOOKLETS])
    page.get_by_text("All files processed.").wait_for(timeout=SLOW_MS)
    page.get_by_role("textbox", name="Search for").fill("How long are lost things kept?")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(".passage").first.wait_for(timeout=SLOW_MS)


def _rows(page: Page, folder: Path) -> None:
    page.get_by_role("gridcell").first.wait_for(timeout=SLOW_MS)


def _versions(page: Page, folder: Path) -> None:
    page.get_by_role("tab", name="Versions").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_role("region", name="Differences").wait_for()
    page.evaluate("scrollTo(0, 0)")


_READY: dict[str, Callable[[Page, Path], None]] = {
    "/agent": _edited,
    "/playground": _ask,
    "/knowledge": _bring,
    "/data": _rows,
    "/settings": _edited,
    "/training": _began,
    "/models": _versions,
}


def _shoot(page: Page, path: Path) -> None:
    page.locator("h1").first.wait_for()
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=path)
    print(path, flush=True)


if __name__ == "__main__":
    main()
