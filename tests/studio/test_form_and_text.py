"""What is changed while it is checked or saved stays; what is saved is what was checked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from assay.config.yaml_text import Problem
from assay.errors import UsageError
from assay.studio.shared import form_and_text
from assay.studio.shared.form_and_text import FormAndText, ParsedText


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The notices; checks begin at once, without a page that tells what goes wrong in them."""
    running, told = list[Any](), list[str]()

    async def check(wait: Awaitable[None]) -> None:
        with suppress(OSError):
            await wait

    def create(wait: Awaitable[None], **_: Any) -> None:
        running.append(asyncio.create_task(check(wait)))

    monkeypatch.setattr(form_and_text, "LOOK_AFTER_S", 0)
    monkeypatch.setattr(form_and_text, "background_tasks", SimpleNamespace(create=create))
    monkeypatch.setattr(form_and_text, "notify", told.append)
    monkeypatch.setattr(form_and_text, "advise", told.append)
    return told


class Editor(FormAndText[str, Any]):
    """Without a page: a text is what it says, and parsing it takes until `parsed` is set."""

    def __init__(self) -> None:
        self._text, self._valid, self._turn = "old", True, 0
        self._draft = SimpleNamespace(text="old", hash="old")
        self._writing, self._checked = asyncio.Lock(), asyncio.Event()
        self._checked.set()
        self._is_typed, self._is_saving, self._saved = False, False, None
        self._open = False
        self.revealed: list[int] = []
        self._code: Any = SimpleNamespace(
            is_deleted=False,
            set_value=lambda text: None,
            reveal_line=self.revealed.append,
            client=None,
        )
        self.shown: list[str] = []
        self._controls: Any = SimpleNamespace(
            freeze=lambda frozen, problems: problems,
            show=self.shown.append,
            accept=lambda value: None,
            forget_problems=lambda: None,
            lead_to_wrong=lambda: None,
            name_wrong=lambda: "",
            is_refused=False,
        )
        self._state: Any = SimpleNamespace(text="")
        self._message: Any = SimpleNamespace(value="", error=None)
        self._others: Any = SimpleNamespace(text="")
        self.parsed = asyncio.Event()
        self.asked: list[str] = []
        self.agreed = asyncio.Event()
        self.agreed.set()
        self.kept = SimpleNamespace(text="old", hash="old")
        self._on_saved = self._show_saved

    async def _parse(self, content: str) -> ParsedText[str]:
        await self.parsed.wait()
        if "unreadable" in content:
            raise OSError
        wrong = [Problem("that cannot be.", "one", line=3)] if "wrong" in content else []
        return ParsedText(content, wrong)

    def _edit(self, content: str, values: dict[str, Any]) -> str:
        if "wrong" in values:
            raise UsageError("that cannot be.")
        return f"{content}, {values}"

    async def _agree_to_save(self, content: str) -> bool:
        self.asked.append(content)
        await self.agreed.wait()
        return True

    async def _store(self, content: str, based_on: str, message: str) -> str:
        assert based_on == self.kept.hash
        self.kept.text = self.kept.hash = content
        return "Saved."

    async def _read(self) -> Any:
        return SimpleNamespace(**vars(self.kept))

    async def _show_saved(self, now: Any) -> None:
        self.shown.append(now.text)

    def _show_problems(self, problems: Any, listed: Any) -> None:
        self._listed = listed


Editor.__abstractmethods__ = frozenset()


def after(act: Callable[[Editor], Awaitable[None]]) -> Editor:
    """An editor in which something was done."""

    make: Any = Editor  # of which parts are missing

    async def run() -> Editor:
        editor: Editor = make()
        await asyncio.wait_for(act(editor), 20)
        return editor

    return asyncio.run(run())


def test_a_check_of_the_text_of_before_is_not_shown() -> None:
    async def meanwhile(editor: Editor) -> None:
        check = asyncio.create_task(editor._check(editor._turn, show=True))
        await asyncio.sleep(0)  # it is under way
        put = asyncio.create_task(editor._put({"shown": 1}))
        await asyncio.sleep(0)  # and so is this: the text is still the old one
        assert editor._text == "old"
        editor.parsed.set()
        await asyncio.gather(check, put)

    editor = after(meanwhile)
    assert editor.shown == []
    assert editor._text == "old, {'shown': 1}"


def test_after_an_edit_that_cannot_be_the_form_shows_the_text() -> None:
    async def refused(editor: Editor) -> None:
        editor.parsed.set()
        with pytest.raises(UsageError):
            await editor._put({"wrong": 1})
        await editor._checked.wait()

    editor = after(refused)
    assert (editor._text, editor.shown) == ("old", ["old"])


def test_what_is_changed_while_a_save_runs_is_there_and_not_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The editor is not built anew: text, message, and what the next save is based on."""

    async def meanwhile(editor: Editor) -> None:
        began, going, keep = asyncio.Event(), asyncio.Event(), editor._store

        async def store(content: str, based_on: str, message: str) -> str:
            assert message == "first"
            began.set()
            await going.wait()
            return await keep(content, based_on, message)

        monkeypatch.setattr(editor, "_store", store)
        editor.parsed.set()
        editor._message.value = "first"
        await editor._put({"one": 1})
        saving = asyncio.create_task(editor._save())
        await began.wait()
        await editor._put({"two": 2})
        editor._message.value = "second"
        going.set()
        await saving

    editor = after(meanwhile)
    assert editor.kept.text == "old, {'one': 1}"
    assert (editor._text, editor.is_changed) == ("old, {'one': 1}, {'two': 2}", True)
    assert (editor._draft.hash, editor._saved) == (editor.kept.text, editor.kept.text)
    assert (editor._message.value, editor.shown) == ("second", [editor.kept.text])


def test_a_save_at_once_is_of_the_text_that_was_checked() -> None:
    async def at_once(editor: Editor) -> None:
        editor._typed("wrong")
        saving = asyncio.create_task(editor._save())
        await asyncio.sleep(0)
        editor._typed("new")
        editor.parsed.set()
        await saving

    editor = after(at_once)
    assert (editor.asked, editor.kept.text, editor.is_changed) == (["new"], "new", False)


@pytest.mark.parametrize("when", ["checked", "agreed to"])
def test_what_is_discarded_while_a_save_waits_is_not_saved(when: str, told: list[str]) -> None:
    async def discarded(editor: Editor) -> None:
        editor.agreed.clear()
        editor._typed("new")
        saving = asyncio.create_task(editor._save())
        await asyncio.sleep(0)
        if when == "agreed to":
            editor.parsed.set()
            while not editor.asked:
                await asyncio.sleep(0)
        editor._code.is_deleted = True
        editor.parsed.set()
        editor.agreed.set()
        await saving

    editor = after(discarded)
    assert (editor.kept.text, told) == ("old", [])


def test_what_is_changed_while_a_save_is_agreed_to_is_not_saved(told: list[str]) -> None:
    async def meanwhile(editor: Editor) -> None:
        editor.parsed.set()
        editor.agreed.clear()
        editor._typed("new")
        saving = asyncio.create_task(editor._save())
        while not editor.asked:
            await asyncio.sleep(0)
        editor._typed("newer")
        editor.agreed.set()
        await saving

    editor = after(meanwhile)
    assert (editor.asked, editor.kept.text) == (["new"], "old")
    assert told == ["The text has changed since you pressed Save. Nothing was saved; save again."]


def test_after_a_check_that_failed_the_save_decides() -> None:
    async def failed(editor: Editor) -> None:
        editor.parsed.set()
        editor._typed("wrong")
        await editor._checked.wait()
        assert editor._state.text == "This cannot be saved yet"
        editor._typed("unreadable")
        assert editor._state.text == "Checking …"
        await editor._checked.wait()
        assert editor._state.text == "Unsaved changes"
        with suppress(OSError):  # of what is shown afterwards
            await editor._save()

    assert after(failed).kept.text == "unreadable"


def test_what_is_wrong_in_the_text_is_named_and_its_line_shown(told: list[str]) -> None:
    async def refused(editor: Editor) -> None:
        editor.parsed.set()
        editor._typed("wrong")
        await editor._save()

    editor = after(refused)
    assert told == ["This cannot be saved yet: line 3: one: that cannot be."]
    assert (editor.revealed, editor.kept.text) == ([3], "old")
