"""The rooms that one request passes through, as docs/architecture.md lists them."""

from __future__ import annotations

import threading
from pathlib import Path
from types import FrameType
from typing import Any

import assay
from assay.agent.agent import Agent
from assay.agent.engines import StreamEngines
from assay.agent.providers import Providers
from assay.agent.versions import save_agent
from assay.project import releases
from tests.generate.remote.provider import said, serving
from tests.serve.running import running

SOURCE = f"{Path(assay.__file__).parent}/"
GROUND = {"config", "example", "json_reader", "store"}
"""What every floor stands on: schemas, conversations, JSON, tables."""
ORDER = ["serve", "project", "release", "accounts", "agent", "generate"]
"""The rooms of a request, the upper floors first."""


def _module(frame: FrameType | None) -> str | None:
    """The nearest caller's file of ours, such as `serve/chat.py`."""
    while frame is not None:
        if (file := frame.f_code.co_filename).startswith(SOURCE):
            return file.removeprefix(SOURCE)
        frame = frame.f_back
    return None


def _room(module: str | None) -> str:
    return (module or "").split("/")[0].removesuffix(".py")


def test_a_request_goes_down_through_six_rooms(tmp_path: Path) -> None:
    """Every call of one request in every thread is looked at: who calls into which other room."""
    calls: set[tuple[str, str]] = set()
    is_watched = False

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if is_watched and event == "call" and frame.f_code.co_filename.startswith(SOURCE):
            here, before = _module(frame), _module(frame.f_back)
            if here is not None and _room(before) != _room(here):
                calls.add((_room(before), here))

    def engines(workspace: Any) -> StreamEngines:
        described = {"far": far.provider(retries=0)}
        workspace.providers = Providers(described, workspace.store, workspace.name)
        return StreamEngines(workspace.store, None, workspace.providers)  # type: ignore[arg-type]

    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    threading.setprofile(watch)
    try:
        with (
            serving(lambda *_: said("hello", usage=usage)) as far,
            running(tmp_path, engines) as server,
            server.http() as http,
        ):
            workspace = server.workspace
            workspace.providers.agree("far")
            agent = Agent(model="remote:far/big-1", system_prompt="Be brief.")
            save_agent(workspace.store, "brief", agent, message="")
            releases.promote(workspace, "desk", "brief@1", force="a test")
            body = {"model": "desk", "messages": [{"role": "user", "content": "hi"}]}
            for again in (False, True):  # what is loaded once is loaded before
                is_watched = again
                assert http.post("/v1/chat/completions", json=body).status_code == 200
    finally:
        is_watched = False
        threading.setprofile(None)  # type: ignore[arg-type]
    calls = {(room, module) for room, module in calls if _room(module) not in GROUND}
    assert {_room(module) for _, module in calls} == set(ORDER)
    # The transport checks the key's scope, and calls the gateway; nothing else.
    below = {module for room, module in calls if room == "serve"}
    assert below == {"accounts/keys.py", "project/answer/gateway.py"}
    climbing = {
        (room, module)
        for room, module in calls
        if room in ORDER and ORDER.index(_room(module)) < ORDER.index(room)
    }
    # An engine may call the function that it was handed to find its provider's key.
    assert climbing <= {("generate", "agent/providers.py")}
