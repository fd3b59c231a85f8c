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
from assay.studio.session import PageContext
from assay.studio.shared.changes import tell_changes

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
