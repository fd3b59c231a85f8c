"""What a page tells the server while its connection dies."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.many_rows import project
from tests.studio.browsing import PATIENCE_MS, Studio, studio, tab
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow

_LISTENER = """(id) => mounted_app.elements[id.slice(1)].events
  .find((one) => one.type === "click").listener_id"""
"""What a click on a button names, wherever it is sent."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("lost") / "tickets"
    folder.mkdir()
    project(folder, 60)
    with studio(folder) as running:
        yield running


@dataclass
class Line:
    """Between a page and the server. While it is dying, what the page writes to it is lost."""

    dying: bool = False
    lost: list[str] = field(default_factory=list)
    ends: list[WebSocketRoute] = field(default_factory=list)

    def connect(self, page: WebSocketRoute) -> None:
        server = page.connect_to_server()

        def forward(message: str | bytes) -> None:
            if self.dying:
                self.lost.append(str(message))
            else:
                server.send(message)

        page.on_message(forward)
        self.ends = [page, server]

    def die(self) -> None:
        """The next one is a good one."""
        self.dying = False
        for end in self.ends:
            end.close()


@pytest.mark.parametrize("fetched", ["when it is opened", "in advance"])
def test_what_was_typed_and_then_pressed_reaches_the_server(
    browser: Browser, up: Studio, fetched: str
) -> None:
    line = Line()
    typed = "777" if fetched == "in advance" else "888"
    with signed_in(browser, up, "editor") as visitor:
        here = tab(visitor.page.context, up.url)
        page = here.page
        page.route_web_socket(re.compile("socket.io"), line.connect)
        if fetched == "in advance":
            page.set_extra_http_headers({"Sec-Purpose": "prefetch"})
        here.open("/settings")
        requests = page.get_by_label("Requests per month")
        save = page.get_by_role("button", name="Save", exact=True)
        pressed = str(page.evaluate(_LISTENER, save.get_attribute("id")))
        requests.fill("500")
        expect(page.get_by_text("Unsaved changes", exact=True)).to_be_visible()

        def wait_for_loss(of: str) -> None:
            end = time.monotonic() + PATIENCE_MS / 1000
            while not any(of in one for one in line.lost):
                assert time.monotonic() < end
                page.wait_for_timeout(20)

        line.dying = True
        requests.fill(typed)
        wait_for_loss(typed)
        save.click()
        wait_for_loss(pressed)
        line.die()
        expect(page.get_by_text("No unsaved changes")).to_be_visible()
        expect(requests).to_have_value(typed)
        here.check()
        page.close()
    assert f"monthly_requests: {typed}" in (up.folder / "assay.yaml").read_text()


def test_what_is_too_long_is_told_and_stops_nothing(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/settings")
        page.get_by_label("System prompt", exact=True).fill("文" * 400_000)
        expect(page.locator("#too_long_message_popup")).to_be_visible()
        page.get_by_label("Requests per month").fill("700")
        expect(page.get_by_text("Unsaved changes", exact=True)).to_be_visible()


_FORGOTTEN = "socket.io.opts.query.client_id = 'forgotten'"
_MISSED = "window.nextMessageId = -1"


@pytest.mark.parametrize("lost", [_FORGOTTEN, _MISSED], ids=["the page", "what was to be shown"])
def test_whoever_loses_what_was_typed_is_told(browser: Browser, up: Studio, lost: str) -> None:
    """The server has forgotten a page after a while or when it is started anew, or what it would
    have shown on it."""
    line = Line()
    with signed_in(browser, up, "editor") as visitor:
        here = tab(visitor.page.context, up.url)
        page = here.page
        page.route_web_socket(re.compile("socket.io"), line.connect)
        here.open("/settings")
        page.get_by_label("Requests per month").fill("600")
        expect(page.get_by_text("Unsaved changes", exact=True)).to_be_visible()
        page.evaluate(lost)
        line.die()
        told = page.get_by_text("this page was loaded again, without what was not saved.")
        expect(told).to_be_visible()
        expect(page.get_by_text("No unsaved changes")).to_be_visible()
        here.settled()
        page.get_by_role("alert").get_by_role("button", name="Close").click()
        page.reload()
        here.settled()
        expect(told).to_have_count(0)
        here.check()
        page.close()
