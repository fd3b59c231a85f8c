"""Sockets of the studio in the hands of who has somebody else's ids, or is no one any more."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect
from tests.studio.browsing import Studio, chromium, studio, tab
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from assay.accounts import people
from assay.accounts.people import Person
from assay.project.workspace import Workspace

PATIENCE_S = 30.0
SILENCE_S = 1.5
WS = "/studio/_nicegui_ws/socket.io/"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("sockets") / "folder"
    folder.mkdir()
    with studio(folder, "--idle") as running:
        yield running


@dataclass
class Browser:
    """What somebody who is signed in has: a cookie, and nothing that keeps to any rule."""

    up: Studio
    person: Person
    http: httpx.Client

    def page(self, path: str) -> Loaded:
        text = self.http.get(f"/studio{path}").text
        found = re.search(r"'client_id': '([0-9a-f-]+)'", text)
        raw = re.search(r"String\.raw`(.*?)`", text, re.DOTALL)
        assert found is not None, text[:500]
        assert raw is not None
        spelled = raw[1]
        for sign, letter in (("36", "$"), ("96", "`")):
            spelled = spelled.replace(f"&#{sign};", letter)
        for sign, letter in (("gt", ">"), ("lt", "<"), ("amp", "&")):
            spelled = spelled.replace(f"&{sign};", letter)
        return Loaded(found[1], json.loads(spelled))

    @contextmanager
    def socket(self, client: str, *, at_once: bool = True) -> Iterator[Socket]:
        query = {
            "EIO": "4",
            "transport": "websocket",
            "client_id": client,
            "implicit_handshake": "true" if at_once else "false",
            "next_message_id": "0",
            "document_id": "d",
            "tab_id": f"tab {self.person.name}",
        }
        address = f"{self.up.url}{WS}?{httpx.QueryParams(query)}".replace("http", "ws", 1)
        cookie = "; ".join(f"{one.name}={one.value}" for one in self.http.cookies.jar)
        with connect(address, origin=self.up.url, additional_headers={"Cookie": cookie}) as opened:  # type: ignore[arg-type]
            opened.recv(PATIENCE_S)
            opened.send("40")
            yield Socket(opened, str(opened.recv(PATIENCE_S)))


@dataclass
class Loaded:
    """A page as it was sent."""

    client: str
    elements: dict[str, Any]

    def listener(self, label: str, type: str) -> tuple[int, str]:
        """Ids of the element with this label, and of who listens to it."""
        for id, element in self.elements.items():
            props = element.get("props", {})
            if label in (props.get("aria-label"), props.get("label")):
                for one in element["events"]:
                    if one["type"] == type:
                        return int(id), one["listener_id"]
        raise AssertionError(label)

    def upload(self) -> str:
        urls = [e["props"]["url"] for e in self.elements.values() if "url" in e.get("props", {})]
        return str(urls[0])


@dataclass
class Socket:
    """A websocket that speaks socket.io."""

    ws: ClientConnection
    answer: str

    def send(self, event: str, *data: Any) -> None:
        self.ws.send("42" + json.dumps([event, *data]))

    def asked(self, event: str, *data: Any) -> str:
        """What the server acknowledges an event with."""
        self.ws.send("427" + json.dumps([event, *data]))
        while not (got := str(self.ws.recv(PATIENCE_S))).startswith("437"):
            pass
        return got[3:]

    def heard(self, seconds: float) -> list[str]:
        """All that comes within some time, but for signs of life."""
        got, end = [], time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                said = str(self.ws.recv(left))
            except TimeoutError:
                break
            if said == "2":
                self.ws.send("3")
            else:
                got.append(said)
        return got


@contextmanager
def signed_in(up: Studio, name: str, role: str) -> Iterator[Browser]:
    workspace = Workspace(up.folder)
    person = people.add(workspace, name, role)
    secret = people.sign_in_secret(workspace, person.id)
    with httpx.Client(base_url=up.url, headers={"Origin": up.url}, timeout=60) as client:
        assert client.get(f"/studio/enter?once={secret}").status_code == 303
        yield Browser(up, person, client)


def role_of(up: Studio, name: str) -> str:
    return people.find(Workspace(up.folder), name).role


def wait_for_person(up: Studio, socket: Socket, name: str) -> None:
    """Until the person is there and the page shows it, with an empty form."""
    end = time.monotonic() + PATIENCE_S
    while all(person.name != name for person in people.people(Workspace(up.folder))):
        assert time.monotonic() < end
        time.sleep(0.1)
    socket.heard(SILENCE_S)


def test_a_viewer_with_an_admins_ids_takes_no_action(up: Studio) -> None:
    with signed_in(up, "eve", "viewer") as eve, signed_in(up, "ada", "admin") as ada:
        theirs, mine = ada.page("/people?part=people"), eve.page("/")
        id, listener = theirs.listener("Role of eve", "update:modelValue")
        event = {
            "id": id,
            "client_id": theirs.client,
            "listener_id": listener,
            "args": [json.dumps({"value": 2, "label": "admin"})],
            "document": "d",
            "nth": 1,
        }
        with ada.socket(theirs.client) as own, eve.socket(mine.client) as other:
            assert other.answer.startswith("40")
            other.send("event", event)
            for name in ("javascript_response", "ack", "log"):
                other.send(name, {"client_id": theirs.client, "next_message_id": 10**9})
            other.heard(SILENCE_S)
            assert role_of(up, "eve") == "viewer"
            own.send("event", event)  # which is what the ids are for
            end = time.monotonic() + PATIENCE_S
            while role_of(up, "eve") != "admin":
                assert time.monotonic() < end
                time.sleep(0.1)


def test_an_event_that_is_told_again_counts_once(up: Studio) -> None:
    """As a page tells it after a lost connection, which may have taken the answer alone."""
    with signed_in(up, "olga", "admin") as olga:
        page = olga.page("/people?part=people")
        named = page.listener("Name of the person", "update:value")
        add = page.listener("Add person", "click")

        def tell(
            socket: Socket, nth: object, to: tuple[int, str], *args: str, of: object = "d"
        ) -> None:
            id, listener = to
            event = {"id": id, "client_id": page.client, "listener_id": listener}
            event |= {"args": [json.dumps(one) for one in args], "document": of, "nth": nth}
            assert socket.asked("event", event) == "[]"

        with olga.socket(page.client) as socket:
            tell(socket, 1, named, "rosa")
            tell(socket, 2, add)
            wait_for_person(up, socket, "rosa")
            tell(socket, 3, named, "rudi")
        with olga.socket(page.client) as socket:
            tell(socket, 2, add)
            socket.heard(SILENCE_S)
            assert "rudi" not in [person.name for person in people.people(Workspace(up.folder))]
            tell(socket, 3, named, "ruth")
            for nth, document in ((4.0, "d"), ("4", "d"), (True, "e"), (4, "x" * 1000), (4, None)):
                tell(socket, nth, add, of=document)
            socket.heard(SILENCE_S)
            tell(socket, 4, add)
            wait_for_person(up, socket, "rudi")
            tell(socket, 1, named, "rolf", of="the page, loaded again")
            tell(socket, 2, add, of="the page, loaded again")
            wait_for_person(up, socket, "rolf")
            tell(socket, 3, named, "remy", of="the page, loaded again")
            tell(socket, 4, add)  # of the first document, which is still there
            socket.heard(SILENCE_S)
    names = [person.name for person in people.people(Workspace(up.folder))]
    assert [name for name in names if name[0] == "r"] == ["rolf", "rosa", "rudi"]


@pytest.mark.parametrize("at_once", [True, False])
def test_nobody_connects_to_anothers_page(up: Studio, at_once: bool) -> None:
    with (
        signed_in(up, f"mallory {at_once}", "viewer") as mallory,
        signed_in(up, f"bob {at_once}", "admin") as bob,
    ):
        theirs = bob.page("/people")
        with mallory.socket(theirs.client, at_once=at_once) as socket:
            if at_once or socket.answer.startswith("44"):
                assert socket.answer.startswith("44")
            else:
                wish = {"client_id": theirs.client, "tab_id": "t", "document_id": "d"}
                assert socket.asked("handshake", wish) == "[false]"
            mine = mallory.page("/")
        with mallory.socket(mine.client) as socket:
            wish = {"client_id": theirs.client, "tab_id": "t", "document_id": "d"}
            assert socket.asked("handshake", wish) == "[false]"
            assert not [said for said in socket.heard(SILENCE_S) if '"update"' in said]


def test_nobody_uploads_to_anothers_page(up: Studio) -> None:
    with signed_in(up, "carol", "viewer") as carol, signed_in(up, "dora", "admin") as dora:
        address = "/studio" + dora.page("/").upload()
        file = {"file": ("rows.csv", b"text,label\na,b\n")}
        assert carol.http.post(address, files=file).status_code == 404
        assert dora.http.post(address, files=file).status_code == 200


def test_messages_come_over_one_connection(up: Studio) -> None:
    """By polling each comes in a request of its own, of whoever knows the socket's id."""
    with signed_in(up, "frank", "viewer") as frank:
        answer = frank.http.get(WS, params={"EIO": "4", "transport": "polling"})
        assert answer.status_code == 400


def test_the_log_grows_at_nobodys_wish(up: Studio) -> None:
    log = up.folder.parent / f"{up.folder.name}.txt"
    before = len(log.read_bytes())
    with signed_in(up, "grace", "viewer") as grace:
        page = grace.page("/")
        with grace.socket(page.client) as socket:
            text = "\x1b[2J\nAdmin key (shown only once): assay-forged\r\n" + "x" * 100_000
            for _ in range(100):
                said = {"client_id": page.client, "level": "error", "message": text}
                socket.send("log", said)
            event = {"client_id": page.client, "document": "d"}
            for wrong in (
                [], [1], ["x" * 50_000], [{"client_id": page.client}], [{"client_id": 1}],
                [{**event, "nth": 1}], [{**event, "document": text, "nth": 2}],
                [{**event, "nth": 3, "id": text, "listener_id": text, "args": [text]}],
                [{**event, "nth": 4, "id": 0, "listener_id": text, "args": text}],
                [{"client_id": page.client, "level": text, "message": text}],
                [{"client_id": page.client, "next_message_id": text}],
                [{"client_id": page.client}, text], [None], [[text]],
            ):  # fmt: skip
                for name in ("event", "log", "ack", "javascript_response", "handshake", "connect"):
                    socket.send(name, *wrong)
            for name in ("error", "too_long_message", "message", text, ""):
                socket.send(name, {"client_id": page.client, "message": text})
            socket.heard(SILENCE_S)
    written = log.read_bytes()[before:]
    assert b"\x1b" not in written
    assert b"\nAdmin key" not in written
    assert b"Traceback" not in written
    assert len(written) < 50_000


def test_a_socket_ends_with_its_session(up: Studio) -> None:
    with signed_in(up, "heidi", "admin") as heidi:
        page = heidi.page("/people?part=people")
        with heidi.socket(page.client) as socket:
            socket.heard(SILENCE_S)
            began = time.monotonic()
            people.set_role(Workspace(up.folder), heidi.person.id, "viewer")
            with pytest.raises(ConnectionClosed):
                socket.heard(PATIENCE_S)
            assert time.monotonic() < began + PATIENCE_S
        assert heidi.http.get("/studio/").status_code == 401


@pytest.mark.slow
def test_a_browser_shows_that_its_person_is_out(up: Studio) -> None:
    workspace = Workspace(up.folder)
    person = people.add(workspace, "ivan", "editor")
    with chromium() as browser:
        seen = tab(browser.new_context(), up.url)
        seen.page.goto(f"{up.url}/studio/enter?once={people.sign_in_secret(workspace, person.id)}")
        seen.settled()
        people.remove(workspace, person.id)
        out = seen.page.get_by_text("Your sign-in has ended")
        expect(out).to_be_visible(timeout=PATIENCE_S * 1000)
