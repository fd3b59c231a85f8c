"""What is changed in a form while its text is still being checked stays in the form."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from assay.errors import UsageError
from assay.studio.shared import form_and_text
from assay.studio.shared.form_and_text import FormAndText, ParsedText


class Editor(FormAndText[str, Any]):
    """Without a page: a text is what it says, and parsing it takes until `parsed` is set."""

    def __init__(self) -> None:
        self._text, self._valid, self._turn = "old", True, 0
        self._writing, self._checked = asyncio.Lock(), asyncio.Event()
        self._checked.set()
        self._is_typed, self._is_saving, self._saved = False, False, None
        self._code: Any = SimpleNamespace(is_deleted=False, set_value=lambda text: None)
        self.shown: list[str] = []
        self._controls: Any = SimpleNamespace(
            freeze=lambda frozen: None,
            show=self.shown.append,
            accept=lambda value: None,
            is_refused=False,
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

    def _show_state(self) -> None: ...


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


def test_what_is_changed_while_a_save_runs_is_there_and_not_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The editor is not built anew: text, message, and what the next save is based on."""
    monkeypatch.setattr(form_and_text, "notify", lambda text: None)
    kept, going = SimpleNamespace(text="old", hash="old"), asyncio.Event()
    message, shown = SimpleNamespace(value="first", error=None), list[Any]()

    async def store(content: str, based_on: str, message: str) -> str:
        assert (based_on, message) == (kept.hash, "first")
        await going.wait()
        kept.text = kept.hash = content
        return "Saved."

    async def read() -> Any:
        return SimpleNamespace(**vars(kept))

    async def show(now: Any) -> None:
        shown.append(now.text)

    async def saved() -> Editor:
        editor: Any = Editor()
        editor.parsed.set()
        editor._draft, editor._message = await read(), message
        editor._others = SimpleNamespace(text="")
        editor._store, editor._read, editor._on_saved = store, read, show
        await editor._put({"one": 1})
        saving = asyncio.create_task(editor._save())
        await asyncio.sleep(0)
        await editor._put({"two": 2})
        message.value = "second"
        going.set()
        await saving
        return editor  # type: ignore[no-any-return]

    editor = asyncio.run(saved())
    assert kept.text == "old, {'one': 1}"
    assert (editor._text, editor.is_changed) == ("old, {'one': 1}, {'two': 2}", True)
    assert (editor._draft.hash, editor._saved) == (kept.text, kept.text)
    assert (message.value, shown) == ("second", [kept.text])
