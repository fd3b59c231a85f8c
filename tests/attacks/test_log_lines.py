"""Texts of clients and providers that would forge a line of the log, or command a terminal."""

from __future__ import annotations

import io
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.figures import Figure
from tests.generate.remote.provider import Reply, serving
from tests.serve.process import server
from tests.serve.test_remote import ASKED, MODEL, before

from assay.errors import ModelError
from assay.log_lines import FAULTS_A_MINUTE, LineFormatter, printable

TRICKS = (
    "\nERROR forged",
    "\r\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\u2028line",
    "\x85next",
    "\u202eright to left",
    "\x00",
    "\u200bunseen",
    "\ud800",
)


def spoils(text: str) -> bool:
    """Whether a text has more than its line, or what a terminal obeys."""
    return not text.isprintable()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server's handler writes."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(LineFormatter())
    logging.getLogger().addHandler(handler)
    yield text
    logging.getLogger().removeHandler(handler)


def test_a_message_is_one_line(figure: Figure) -> None:
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(LineFormatter())
    apart = logging.Logger("assay.serve")  # not captured by pytest, which wants Unicode
    apart.addHandler(handler)
    for trick in TRICKS:
        apart.error("%s", f"a{trick}b")
        try:
            raise ModelError(f"a{trick}b")
        except ModelError as error:
            apart.error("failed: %s", trick, exc_info=error)
    lines = log.getvalue().split("\n")
    assert not any(map(spoils, lines))
    assert not [line for line in lines if line.startswith("ERROR")]
    assert len([line for line in lines if " ERROR assay.serve: " in line]) == 2 * len(TRICKS)
    figure("texts that would forge log lines or command a terminal, spelled out", len(TRICKS))


@pytest.mark.parametrize("status", [400, 401, 500])
def test_what_a_provider_says_is_one_line(tmp_path: Path, log: io.StringIO, status: int) -> None:
    said = json.dumps({"error": {"message": "well " + "".join(TRICKS[:-1])}}).encode()
    with (
        serving(lambda *_: Reply(said, status)) as far,
        before(tmp_path, far) as running,
        running.http() as client,
    ):
        body = {"model": MODEL, "messages": ASKED}
        told = client.post("/v1/chat/completions", json=body).json()["error"]["message"]
    assert not spoils(told)
    assert not any(map(spoils, log.getvalue().split("\n")))


def test_every_character_that_cannot_be_seen_is_spelled() -> None:
    for number in (*range(0x3000), *range(0xD7F0, 0xE010), 0xE0001, 0x10FFFF):
        assert not spoils(printable(chr(number)))
    assert printable("grüßt 🦉 ключ") == "grüßt 🦉 ключ"


@pytest.mark.slow
def test_the_server_itself_writes_so(tmp_path: Path) -> None:
    """What uvicorn logs of odd requests goes the same way."""
    with server(tmp_path) as running:
        host, port = running.url.removeprefix("http://").split(":")
        for head in (
            b"\x1b[2J / HTTP/1.1\r\n\r\n",
            b"GET /\x1b[2J HTTP/9.9\r\nX: \n\nERROR\r\n\r\n",
        ):
            with socket.create_connection((host, int(port)), timeout=5) as line:
                line.sendall(head)
                line.settimeout(5)
                line.recv(4096)
        assert running.stop() == 0
        assert not any(map(spoils, running.output.read_text().split("\n")))


@pytest.mark.slow
def test_what_is_no_request_does_not_fill_the_log(tmp_path: Path) -> None:
    """Before any key is asked for."""
    with server(tmp_path) as running:
        host, port = running.url.removeprefix("http://").split(":")
        for _ in range(3 * FAULTS_A_MINUTE):
            with socket.create_connection((host, int(port)), timeout=5) as line:
                line.sendall(b"no request\r\n\r\n")
                line.recv(4096)
        assert running.stop() == 0
        lines = running.output.read_text().count("Invalid HTTP request")
        assert 0 < lines <= 2 * FAULTS_A_MINUTE  # a minute may end meanwhile
