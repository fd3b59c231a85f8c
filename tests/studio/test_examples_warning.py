"""Documents are searched for the examples by one page at a time, without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nicegui import Client, background_tasks, ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page

from assay.studio.pages.knowledge.examples_warning import examples_warning
from assay.studio.session import PageContext


def test_the_search_of_a_page_that_is_left_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tells: list[Callable[[], Awaitable[None]]] = []
    monkeypatch.setattr(ui, "timer", lambda _, call, **__: tells.append(call))
    monkeypatch.setattr(background_tasks, "create", lambda work, **_: asyncio.create_task(work))
    searching: list[int] = []

    async def follow() -> list[str]:
        end = asyncio.Event()

        async def read(*_: Any) -> str:
            searching.append(1)
            await end.wait()
            return "They stand there."

        of = SimpleNamespace(read=read, workspace=SimpleNamespace(root=Path("/nowhere")))
        clients = [Client(page("/knowledge")) for _ in range(3)]
        for client in clients:
            with client:
                examples_warning(cast(PageContext, of), "manuals")
        first, left, last = (asyncio.create_task(cast(Any, tell())) for tell in tells[::2])
        await asyncio.sleep(0.01)
        first.cancel()
        clients[1].remove_all_elements()
        await asyncio.sleep(0.01)
        assert len(searching) == 1
        end.set()
        await asyncio.gather(left, last)
        assert len(searching) == 2  # nobody looks at the second page any more
        return [one.text for one in clients[2].elements.values() if isinstance(one, TextElement)]

    assert asyncio.run(follow()) == ["They stand there."]
