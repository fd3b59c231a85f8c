"""What is told of changes since the newest verdict, without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nicegui import Client, ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page

from assay.project.comparisons import Changes, NextOpening
from assay.studio.pages.compare import page as compare
from assay.studio.pages.start import page as start
from assay.studio.session import PageContext
from assay.studio.shared.changes import LOOKING, tell_changes

OPENING = NextOpening(2, 0.0076, 0.0304)
BEFORE = "The newest verdict is from before."


@pytest.mark.parametrize(
    ("found", "shown_last", "said"),
    [
        (Changes([], True, False, [], OPENING), True, ""),  # told beside the verdict
        (
            Changes([], True, False, [], OPENING),
            False,
            f"Changed since the last comparison: documents. {BEFORE}",
        ),
        (
            Changes(["settings"], True, True, [], OPENING),
            False,
            f"Changed since the last comparison: settings, documents and costs. {BEFORE}",
        ),
        (
            Changes([], False, True, [], None),
            True,
            f"Changed since the last comparison: costs. {BEFORE} "
            "Comparing again does not open the holdout.",
        ),
        (Changes([], False, False, ["files of graders"], OPENING), True, ""),
    ],
)
def test_what_has_changed_is_told_unless_it_stands_beside_the_verdict(
    found: Changes, shown_last: bool, said: str
) -> None:
    async def read(_: Callable[..., Any]) -> Changes:
        return found

    with Client(page("/compare")) as client:
        place = ui.element("div")
        context = cast(PageContext, SimpleNamespace(read=read))
        asyncio.run(tell_changes(context, place, shown_last=shown_last))
    shown = [one.text for one in client.elements.values() if isinstance(one, TextElement)]
    assert shown == ([said] if said else [])


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_only_an_editor_is_sent_to_compare_again(role: str) -> None:
    async def read(_: Callable[..., Any]) -> Changes:
        return Changes(["settings"], False, False, [], OPENING)

    with Client(page("/")) as client:
        place = ui.element("div")
        of = SimpleNamespace(read=read, may=lambda wanted: wanted == role)
        asyncio.run(tell_changes(cast(PageContext, of), place, shown_last=True, link=True))
    shown = [one.text for one in client.elements.values() if isinstance(one, TextElement)]
    assert ("Compare again on the page Compare" in shown) == (role == "editor")


def test_a_viewer_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(*_: Any) -> list[Any]:
        return []  # no jobs

    monkeypatch.setattr(start, "verdict_card", lambda _: None)
    workspace = SimpleNamespace(project=object())
    may = {"may": lambda role: role == "viewer"}
    context = cast(PageContext, SimpleNamespace(read=read, workspace=workspace, **may))
    client = Client(page("/compare"))

    async def show() -> None:
        with client:
            await compare._show_start(context, before=True, shown_last=True)
            start._show_card(context, cast(Any, None), other_documents=False)

    asyncio.run(show())
    shown = [one.text for one in client.elements.values() if isinstance(one, TextElement)]
    assert shown == [LOOKING, LOOKING]  # and no button
