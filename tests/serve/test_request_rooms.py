"""The entries into rooms that one request makes, as docs/architecture.md counts and lists them."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pydantic import BaseModel

import assay
from assay.accounts.costs import set_budget
from assay.accounts.keys import create_key
from assay.agent.agent import Agent
from assay.agent.engines import StreamEngines
from assay.agent.providers import Providers
from assay.agent.versions import save_agent
from assay.config import TokenPrice
from assay.project import releases
from assay.project.answer.answering import Answering
from assay.serve import streams
from tests.generate.remote.provider import said, serving
from tests.serve.running import running

SOURCE = f"{Path(assay.__file__).parent}/"
GROUND = {"config", "example", "json_reader", "store"}
"""What every floor stands on: schemas, conversations, JSON, tables."""
_RESUMED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def _place(frame: FrameType | None) -> tuple[str, str]:
    """Room, and `module.function`, of the nearest caller that is ours; "" where there is none."""
    while frame is not None:
        if (file := frame.f_code.co_filename).startswith(SOURCE):
            module = file.removeprefix(SOURCE).removesuffix(".py").replace("/", ".")
            name = frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else ""
            return module.split(".")[0], f"{module}.{name}"
        frame = frame.f_back
    return "", ""


def _room_of(value: object) -> str:
    """The room whose class a value has, if it is ours."""
    module = type(value).__module__
    return module.split(".")[1] if module.startswith("assay.") else ""


def _is_value(value: object) -> bool:
    """Whether it is a frozen dataclass or model."""
    if isinstance(value, BaseModel):
        return bool(value.model_config.get("frozen"))
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


def _given(frame: FrameType) -> Iterator[object]:
    """The arguments of a call, and what is in those that are lists or tuples."""
    code = frame.f_code
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        value = frame.f_locals.get(name)
        yield value
        if isinstance(value, (list, tuple)):
            yield from value


class Entries:
    """Watches all calls of all threads. Calls of what a room has given out are returns to it.

    Attributes:
        found: the entries, in order: the room that calls, and the function that it enters.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.found: list[tuple[str, str]] = []
        self._made: dict[int, object] = {}  # kept, so that no id is given twice
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """A profile function, see `sys.setprofile`."""
        if not self.is_on or event != "call":
            return
        code = frame.f_code
        is_new = code.co_name == "__init__"
        self_ = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        with self._lock:
            if code.co_filename.startswith(SOURCE) and self._is_entry(
                frame, None if is_new else self_
            ):
                self.found.append((_place(frame.f_back)[0], _place(frame)[1]))
            room = _room_of(self_) if is_new else ""
            if room and room in (_place(frame)[0], _place(frame.f_back)[0]):
                self._made[id(self_)] = self_  # a value that another room has made is not given out
            if code.co_flags & _RESUMED:
                self._made[id(frame)] = frame

    def _is_entry(self, frame: FrameType, self_: object) -> bool:
        room, before = _place(frame)[0], _place(frame.f_back)[0]
        if room in GROUND or before in ("", room):
            return False
        if id(frame) in self._made:  # an iterator goes on
            return False
        if _is_value(self_):  # it answers out of itself
            return False
        return not any(
            id(value) in self._made and _room_of(value) == room for value in _given(frame)
        )


DOWN = [
    ("serve", "project.answer.gateway.Gateway.open"),
    ("project", "release.releases.resolve"),
    ("project", "agent.versions.load_agent"),
    ("project", "accounts.charge.Charge.__init__"),
    ("accounts", "agent.prices.PriceList.__init__"),
    ("agent", "generate.remote.stream.RemoteStreamEngine.chat"),
    # The engine calls the function that it was handed to read its provider's key.
    ("generate", "agent.providers.Providers.key"),
]
BACK = [("project", "release.traces.record")]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_request_enters_each_room_once_from_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_stream: bool
) -> None:
    entries = Entries()
    monkeypatch.setattr(streams, "_idle", deque(maxlen=64))  # threads of now are watched
    closed, close = threading.Semaphore(0), Answering.close

    def close_and_tell(answering: Answering) -> None:
        close(answering)
        closed.release()

    monkeypatch.setattr(Answering, "close", close_and_tell)

    def engines(workspace: Any) -> StreamEngines:
        prices = {"big-1": TokenPrice(input=1.0, output=1.0)}
        described = {"far": far.provider(retries=0, prices=prices)}
        workspace.providers = Providers(described, workspace.store, workspace.name)
        return StreamEngines(workspace.store, None, workspace.providers)  # type: ignore[arg-type]

    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    threading.setprofile(entries)
    try:
        with (
            serving(lambda *_: said("hello", usage=usage)) as far,
            running(tmp_path, engines) as server,
        ):
            workspace = server.workspace
            workspace.providers.agree("far")
            agent = Agent(model="remote:far/big-1", system_prompt="Be brief.")
            save_agent(workspace.store, "brief", agent, message="")
            releases.promote(workspace, "desk", "brief@1", force="a test")
            key, secret = create_key(workspace.store, workspace.name, "budgeted", ["chat"])
            set_budget(workspace.store, key.id, 1.0)
            hello = [{"role": "user", "content": "hi"}]
            body = {"model": "desk", "messages": hello, "stream": is_stream}
            with server.http(secret) as http:
                for again in (False, True):  # what is loaded once is loaded before
                    entries.is_on = again
                    assert http.post("/v1/chat/completions", json=body).status_code == 200
                    # The end of a stream is read before the stream is closed.
                    assert not is_stream or closed.acquire(timeout=30)
            entries.is_on = False
            workspace.usage.flush()
    finally:
        entries.is_on = False
        threading.setprofile(None)  # type: ignore[arg-type]
    assert entries.found == DOWN + BACK
    rooms = {function.split(".")[0] for _, function in entries.found} | {"serve"}
    assert len(rooms) <= 7
