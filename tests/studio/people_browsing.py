"""A studio that is served, and browsers of people who visit it; nothing leaves, no error."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from assay.project import people
from assay.project.workspace import Workspace

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 20_000
"""A machine that does other work as well may take so long."""
expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Visitor:
    """A page of a browser of one person, and what went wrong in it."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """A page of the studio, whole."""
        self.page.goto(f"{self.url}/studio{path}", wait_until="networkidle")
        return self.page

    def heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def asked(self, request: Request) -> None:
        if not request.url.startswith((self.url, self.url.replace("http", "ws"), "data:", "blob:")):
            self.outside.append(request.url)


@dataclass
class Served:
    """A folder whose studio is up."""

    url: str
    workspace: Workspace
    browser: Browser

    @contextmanager
    def visitor(self, role: str, name: str | None = None) -> Iterator[Visitor]:
        """Somebody of a role, in a browser of their own; no error may be told, nothing leave."""
        name = name or role
        known = {person.name: person for person in people.people(self.workspace)}
        person = known.get(name) or people.add(self.workspace, name, role)
        secret = people.sign_in_secret(self.workspace, person.id)
        context = self.browser.new_context(viewport={"width": 1280, "height": 900})
        visitor = Visitor(context.new_page(), self.url)
        visitor.page.on("console", visitor.heard)
        visitor.page.on("pageerror", lambda error: visitor.errors.append(str(error)))
        visitor.page.on("request", visitor.asked)
        visitor.page.set_default_timeout(PATIENCE_MS)
        visitor.page.goto(f"{self.url}/studio/enter?once={secret}", wait_until="domcontentloaded")
        try:
            yield visitor
        finally:
            context.close()
        assert not visitor.errors
        assert not visitor.outside


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve a folder in a process beside."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.studio.served", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"Studio .*: (http://[\d.:]+)/", line):
                url = found[1]
                break
        else:
            raise AssertionError("the studio did not come up")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            yield Served(url, Workspace(folder), browser)
            browser.close()
    finally:
        process.kill()  # ends at once what tests/serve sees end in good order
        process.wait()
