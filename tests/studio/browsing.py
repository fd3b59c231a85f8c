"""A browser on the studio: signs in, and remembers everything that should not have happened."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.preloaded import Preloaded
from tests.services import missing
from tests.studio import serving

_END_FADING = """() => document.getAnimations()
  .filter((one) => one.effect.getComputedTiming().endTime < Infinity)
  .forEach((one) => one.finish())"""
"""What fades in has no contrast yet. It is not waited for: one that rests never ends."""
_VIOLATIONS = """async (options) => (await axe.run(document, options)).violations.flatMap((found) =>
  found.nodes.slice(0, 3).map((node) => `${found.id}: ${node.target} ${node.failureSummary}`))"""
_CUT = """() => [...document.querySelectorAll(".q-dialog .q-card, .q-field .ellipsis")]
  .filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1)
  .map((box) => box.innerText.slice(0, 80))"""
PATIENCE_MS = 90_000
"""Most that anything is waited for, everywhere: a machine that does other work as well may take so
long. What is meant is waited for by name; no test sleeps until it is probably there."""
WINDOW: ViewportSize = {"width": 1320, "height": 900}
LINK = re.compile(r"^Studio.*?(http\S+)$", re.MULTILINE)
ROOT = Path(__file__).parents[2]


@dataclass
class Studio:
    """A running one.

    Attributes:
        link: signs the owner in, once.
        output: what it has said in its terminal.
    """

    process: Preloaded
    folder: Path
    link: str
    output: Path

    @property
    def url(self) -> str:
        return self.link.split("/studio/")[0]


@contextmanager
def studio(folder: Path, *options: str) -> Iterator[Studio]:
    """Serve a folder as `tests.studio.serving` does."""
    output = folder.parent / f"{folder.name}.txt"
    output.write_bytes(b"")
    arguments = ["serving", str(folder), *options]
    process = Preloaded(serving.main, arguments, ROOT, output, os.environ)
    try:
        deadline = time.monotonic() + 300
        while not (found := LINK.search(output.read_text())):
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        yield Studio(process, folder, found[1], output)
        assert "Traceback" not in output.read_text(), output.read_text()
    finally:
        process.terminate()
        try:
            process.wait(30)
        except TimeoutExpired:
            process.kill()


def find_chromium() -> str:
    """Debian's."""
    found = shutil.which("chromium")
    if found is None:
        missing("no chromium here (Debian's package chromium)")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    executable = find_chromium()
    with sync_playwright() as play:
        yield play.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )


@dataclass
class Tab:
    """A page that keeps what went wrong: `check` says that nothing did."""

    page: Page
    url: str
    wrong: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.url}/studio{path}", wait_until="domcontentloaded")
        return self.settled()

    def settled(self) -> Page:
        """The page, when it is there and connected: one that cannot connect begins anew, and what
        was clicked before is lost."""
        self.page.locator("h1").first.wait_for()
        self.page.wait_for_function("window.did_handshake")
        return self.page

    def look(self, scheme: Literal["light", "dark"], width: int) -> None:
        """Change the system's theme and the window, as somebody does who has the page open."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 844})
        body, dark = self.page.locator("body"), re.compile(r"\bbody--dark\b")
        (expect(body).to_have_class if scheme == "dark" else expect(body).not_to_have_class)(dark)

    def leave(self) -> None:
        """Nothing may have gone wrong; whoever comes next finds it as if it were new, and the
        browser's process for it has read the scripts."""
        self.page.goto("about:blank")
        wrong, self.wrong[:] = list(self.wrong), []
        self.page.set_viewport_size(WINDOW)
        self.page.emulate_media(color_scheme="light")
        assert not wrong, wrong

    def check(self) -> None:
        assert not self.wrong, self.wrong

    def fits(self) -> None:
        """Nothing makes the page, or a dialog on it, scroll sideways; what a field's choice is, is
        read whole."""
        wide, room = self.page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
        assert wide <= room, f"{self.page.url} is {wide} px wide in {room}"
        assert not (cut := self.page.evaluate(_CUT)), f"{self.page.url} cuts {cut}"

    def axe(self, *rules_off: str) -> None:
        """No violation of WCAG 2.1 A and AA in what is shown now."""
        from axe_playwright_python.base import AXE_SCRIPT

        # An editor comes after the rest of the page, and gets its name once it is there.
        expect(self.page.locator(".waiting")).to_have_count(0)
        unnamed = ".yaml:not(:has(.cm-content[aria-label]))"
        expect(self.page.locator(unnamed)).to_have_count(0)
        # A table puts its heading up before the columns in it.
        empty = ".ag-header-row:visible:not(:has([role=columnheader]))"
        expect(self.page.locator(empty)).to_have_count(0)
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        options: dict[str, Any] = {
            "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
            "rules": {rule: {"enabled": False} for rule in rules_off},
            "resultTypes": ["violations"],  # what passes is counted, and not described
        }
        self.page.evaluate(_END_FADING)
        leaving = "[class*=-leave-active]"  # what has faded out is taken away a moment later
        expect(self.page.locator(leaving)).to_have_count(0)
        told = self.page.evaluate(_VIOLATIONS, options)
        assert not told, "\n".join(told)


def tab(context: BrowserContext, url: str) -> Tab:
    made = Tab(context.new_page(), url)
    page = made.page
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda m: made.wrong.append(m.text) if m.type == "error" else None)
    # Printed, and shown with a failure: NiceGUI begins a page anew that lost its connection.
    page.on("console", lambda m: print(m.text) if m.text.startswith("reloading") else None)
    page.on("pageerror", lambda error: made.wrong.append(str(error)))
    host = urlsplit(url).netloc

    def outside(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != host:
            made.wrong.append(f"asked {request.url}")

    page.on("request", outside)
    return made
