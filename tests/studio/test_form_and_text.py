"""What is changed in a form while its text is still being checked stays in the form."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from assay.errors import UsageError
from assay.studio.shared.form_and_text import FormAndText, ParsedText


class Editor(FormAndText[str, Any]):
    """Without a page: a text is what it says, and parsing it takes until `parsed` is set."""

    def __init__(self) -> None:
        self._text, self._valid, self._turn = "old", True, 0
        self._writing = asyncio.Lock()
        self._is_typed, self._saved = False, None
        self._code: Any = SimpleNamespace(is_deleted=False, set_value=lambda text: None)
        self.shown: list[str] = []
        self._controls: Any = SimpleNamespace(
            freeze=lambda frozen: None, show=self.shown.append, accept=lambda value: None
        )
        self.parsed = asyncio.Event()
        self.later: list[bool] = []

    async def _parse(self, content: str) -> ParsedText[str]:
        await self.parsed.wait()
        return ParsedText(content, [])

    def _edit(self, content: str, values: dict[str, Any]) -> str:
        if "wrong" in values:
            raise UsageError("that cannot be.")
        return f"{content}, {values}"

    def _check_later(self, *, show: bool) -> None:
        self._turn += 1
        self.later.append(show)

    def _show_problems(self, problems: Any, listed: Any) -> None: ...

    def _show_state(self, busy: str = "") -> None: ...


Editor.__abstractmethods__ = frozenset()


def test_a_check_of_the_text_of_before_is_not_shown() -> None:
    async def meanwhile() -> Editor:
        editor = Editor()
        check = asyncio.create_task(editor._check(editor._turn, show=True))
        await asyncio.sleep(0)  # it is under way
        put = asyncio.create_task(editor._put({"shown": 1}))
        await asyncio.sleep(0)  # and so is this: the text is still the old one
        assert editor._text == "old"
        editor.parsed.set()
        await asyncio.gather(check, put)
        return editor

    editor = asyncio.run(meanwhile())
    assert editor.shown == []
    assert editor._text == "old, {'shown': 1}"


def test_after_an_edit_that_cannot_be_the_form_shows_the_text() -> None:
    async def refused() -> Editor:
        editor = Editor()
        with pytest.raises(UsageError):
            await editor._put({"wrong": 1})
        return editor

    editor = asyncio.run(refused())
    assert (editor._text, editor.later) == ("old", [True])
