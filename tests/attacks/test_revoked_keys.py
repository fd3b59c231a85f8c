"""What a key has begun ends when the key is revoked or is no more."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from tests.serve.running import STARTER, Running, running
from tests.serve.scripted import ScriptedEngine

from assay.accounts.keys import create_key, free_name, revoke_key
from assay.store.tables import ApiKeyRow

WORDS = " ".join(f"word{n}" for n in range(2000))
PAUSE_S = 0.05
"""A hundred seconds an answer."""
PATIENCE_S = 20.0
ENDED_S = 5.0
"""Half a second on a machine that does nothing else."""
End = Callable[[Running, str], None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as served:
        served.engines.the = ScriptedEngine(lambda *_: WORDS, pause_s=PAUSE_S)
        yield served


def revoked(server: Running, id: str) -> None:
    revoke_key(server.workspace.store, id)


def deleted(server: Running, id: str) -> None:
    with server.workspace.store.session() as session:
        session.delete(session.get(ApiKeyRow, id))


def new_key(server: Running, scope: str) -> tuple[str, str]:
    """Id and secret."""
    store, project = server.workspace.store, server.workspace.name
    made, secret = create_key(store, project, free_name(store, project, scope), [scope])
    return made.id, secret


def left(server: Running, streams: int) -> bool:
    """Whether so many are under way, soon."""
    end = time.monotonic() + PATIENCE_S
    while server.engine.open != streams:
        assert time.monotonic() < end
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("end", [revoked, deleted])
@pytest.mark.parametrize("kind", ["chat", "completions", "responses"])
def test_a_stream_ends(server: Running, end: End, kind: str) -> None:
    (id, secret), (_, other) = new_key(server, "chat"), new_key(server, "chat")
    with server.client(secret) as client, server.client(other) as neighbour:
        stream, kept = _stream(client, kind), _stream(neighbour, kind)
        next(stream)
        next(kept)
        assert server.engine.open == 2
        began = time.monotonic()
        end(server, id)
        with pytest.raises(openai.APIError, match="revoked"):
            list(stream)
        assert time.monotonic() - began < ENDED_S
        next(kept)  # the neighbour's goes on
        assert left(server, 1)
        kept.close()
    assert left(server, 0)


def _stream(client: openai.OpenAI, kind: str) -> Any:
    if kind == "chat":
        asked = [{"role": "user", "content": "Hi"}]
        made: Any = client.chat.completions.create(model=STARTER, messages=asked, stream=True)  # type: ignore[call-overload]
    elif kind == "completions":
        made = client.completions.create(model=STARTER, prompt=WORDS, stream=True)
    else:
        made = client.responses.create(model=STARTER, input="Hi", stream=True)
    return made


def test_an_answer_that_is_waited_for_ends(server: Running) -> None:
    id, secret = new_key(server, "chat")
    answers: list[httpx.Response] = []

    def ask() -> None:
        body = {"model": STARTER, "messages": [{"role": "user", "content": "Hi"}]}
        with server.http(secret) as client:
            answers.append(client.post("/v1/chat/completions", json=body, timeout=PATIENCE_S))

    asking = threading.Thread(target=ask)
    asking.start()
    end = time.monotonic() + PATIENCE_S
    while not server.engine.open:
        assert time.monotonic() < end
        time.sleep(0.01)
    revoked(server, id)
    asking.join(PATIENCE_S)
    assert answers[0].status_code == 401
    assert answers[0].json()["error"]["code"] == "invalid_api_key"
    assert left(server, 0)


def test_a_body_that_is_on_its_way_ends(server: Running) -> None:
    id, secret = new_key(server, "files")
    began = time.monotonic()
    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)) as client:
        client.putrequest("POST", "/v1/files")
        client.putheader("Authorization", f"Bearer {secret}")
        client.putheader("Content-Type", "multipart/form-data; boundary=x")
        client.putheader("Content-Length", "1000000")
        client.endheaders(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n')
        time.sleep(0.5)  # it was good when it came
        revoked(server, id)
        assert client.getresponse().status == 401
    assert time.monotonic() - began < ENDED_S
