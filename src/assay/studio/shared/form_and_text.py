"""Something being edited as form and text, side by side, on one model, which is the text.

The form changes the text setting by setting, so that comments stay; what is typed into the text is
shown in the form. Only what can be used can be saved, and nobody's save is lost: an edit of
something that has changed since is told, with what changed, and never written over it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from nicegui import background_tasks, ui

from assay.config.yaml_text import Problem
from assay.errors import StateError, UsageError, on_page
from assay.studio import widgets as w
from assay.studio.browser import call_expression
from assay.studio.dialogs import advise, ask_before_leaving, errors_at, notify
from assay.studio.session import PageContext, Refresh
from assay.studio.shared.controls import Controls, S
from assay.studio.shared.differences import ask_which_to_keep
from assay.studio.words import quote_typed

LOOK_AFTER_S = 0.3
"""Typing that pauses so long is looked at."""
OTHERS_EVERY_S = 5.0
"""So often it is asked whether somebody else has saved."""


class EditedText(Protocol):
    """What was read to be changed; a save wants its hash back."""

    @property
    def text(self) -> str:
        """The text as it is stored."""

    @property
    def hash(self) -> str:
        """The hash of the stored text."""


D = TypeVar("D", bound=EditedText)


@dataclass(frozen=True, slots=True)
class ParsedText(Generic[S]):
    """What a text says, and what is wrong with it.

    Attributes:
        value: None where the text says nothing that the form could show.
        problems: what keeps it from being saved; empty: nothing does.
        more: what else was found, for the editor of this kind.
    """

    value: S | None
    problems: Sequence[Problem]
    more: Any = None


class FormAndText(ABC, Generic[S, D]):
    """One thing that is edited in one browser tab.

    Args:
        draft: as it was read; what is saved is based on it.
        reopen: shows the thing anew, as it is kept then.
        saved: shows around the editor what was saved; the editor itself stays as it is.
    """

    WHAT: ClassVar[str]
    """What the text is, for those who do not see it."""
    UNDER: ClassVar[str]
    """Under the heading of the text."""
    STALE: ClassVar[type[StateError]]
    """Raised by a save of what has changed since."""

    def __init__(
        self,
        context: PageContext,
        draft: D,
        reopen: Refresh,
        saved: Callable[[D], Awaitable[None]],
    ) -> None:
        self._context, self._draft, self._reopen, self._on_saved = context, draft, reopen, saved
        self._open = context.may("editor")
        self._text, self._valid, self._turn = draft.text, True, 0
        self._saved: S | None = None  # what the stored text says
        self._listed: Sequence[Problem] = ()  # problems that no field of the form tells
        self._is_typed = self._is_saving = False
        self._writing = asyncio.Lock()
        self._checked = asyncio.Event()  # the text as it is was looked at
        self._checked.set()
        self._save_once = w.one_by_one(self._save)
        with ui.element("div").classes("editor"):
            with w.card("form"):
                self._controls = self._build_form()
                self._controls.on_refusal = lambda: self._show_state()
            with ui.element("div").classes("stack gap beside"):
                self._build_text()
                self._build_more()
        self._build_save()
        ui.timer(OTHERS_EVERY_S, self._watch_others)
        ui.timer(0.05, lambda: self._check(self._turn, show=True), once=True)

    # -- what the kind of thing decides

    @abstractmethod
    def _build_form(self) -> Controls[S]:
        """The form, in the card that is open."""

    def _build_more(self) -> None:
        """What stands under the text."""

    @abstractmethod
    def _completions(self) -> Mapping[str, Any]:
        """Settings to be offered, `{name: {info, values, settings}}`."""

    @abstractmethod
    async def _parse(self, content: str) -> ParsedText[S]:
        """What a text says."""

    async def _show_more(self, found: ParsedText[S]) -> None:
        """Show what else was found."""

    @abstractmethod
    def _edit(self, content: str, values: dict[str, Any]) -> str:
        """A text with settings changed."""

    @abstractmethod
    async def _read(self) -> D:
        """The thing as it is kept now."""

    @abstractmethod
    async def _store(self, content: str, based_on: str, message: str) -> str:
        """Save; returns what is said of it."""

    @abstractmethod
    def _describe_save(self, now: D) -> str:
        """Who has saved what, as the beginning of a sentence: "ann has saved support@2"."""

    def _read_message(self, now: D) -> str:
        """What whoever saved it said about it."""
        return ""

    @property
    def is_changed(self) -> bool:
        """Whether there is something to save."""
        return self._text != self._draft.text

    def _is_gone(self) -> bool:
        """Whether the person has left, or the agent is shown anew."""
        return self._code.is_deleted

    # -- the text

    def _build_text(self) -> None:
        with w.section("As text", self.UNDER, style="yaml"):
            self._code = ui.codemirror(
                self._text,
                language="YAML",
                theme="githubLight",
                indent="  ",
                line_wrapping=True,
                on_change=lambda event: self._typed(event.value),
                keymap={"Mod-s": self._save_once} if self._open else {},
            )
            self._code.set_enabled(self._open)
            self._problems = ui.element("div").classes("problems").props("role=status")
        self._complete()

    def _complete(self) -> None:
        """Offers settings with what they mean, names the editor for those who do not see it, and
        lets it be dark when the page is."""
        self._run_editor("complete", self._completions(), self.WHAT)

    def _run_editor(self, action: str, *given: Any) -> None:
        ui.run_javascript(call_expression(_EDITOR, action, self._code.id, *given))

    def _typed(self, content: str) -> None:
        if content != self._text:
            self._text, self._is_typed = content, True
            self._controls.forget_problems()
            self._check_later(show=True)

    async def _put(self, values: dict[str, Any]) -> None:
        """Settings of the form, into the text."""
        async with self._writing:
            self._turn += 1  # a look that is under way would show what was before
            try:
                self._text = await asyncio.to_thread(self._edit, self._text, values)
            except BaseException:
                self._check_later(show=True)
                raise
            made = self._text
            self._code.set_value(made)
            self._check_later(show=False)
            found = await self._parse(made)
            if found.value is None:
                return
            self._controls.accept(found.value)
            if self._text == made and not self._is_typed and found.value == self._saved:
                self._text = self._draft.text  # all is as it was: so is its spelling
                self._code.set_value(self._text)
                self._check_later(show=False)

    def _check_later(self, *, show: bool) -> None:
        self._turn += 1
        self._checked.clear()
        self._show_state()
        turn = self._turn

        async def wait() -> None:
            await asyncio.sleep(LOOK_AFTER_S)
            try:
                await self._check(turn, show=show)
            finally:
                if turn == self._turn and not self._checked.is_set():
                    self._valid = True  # it failed: the save decides, which checks the text as well
                    self._checked.set()
                    if not self._is_gone():
                        self._show_state()

        background_tasks.create(wait(), name="check a draft", context=self._code.client)

    async def _check(self, turn: int, *, show: bool = False) -> None:
        if turn != self._turn or self._is_gone():
            return
        found = await self._parse(self._text)
        if turn != self._turn or self._is_gone():  # typed on meanwhile, or left
            return
        self._valid = not found.problems
        if not self.is_changed:
            self._saved = found.value
        untold = self._controls.freeze(found.value is None, found.problems)
        if found.value is not None and show:
            self._controls.show(found.value)
        self._show_problems(found.problems, untold)
        self._checked.set()
        self._show_state()
        await self._show_more(found)

    def _show_problems(self, problems: Sequence[Problem], listed: Sequence[Problem]) -> None:
        """Mark the lines of all problems, and list those that no field of the form tells."""
        self._listed = listed
        placed = {p.line: p.message for p in problems if p.line is not None}
        lines = self._text.count("\n") + 1
        marks = [
            {"kind": "line", "line": line, "class": "wrong-line"}
            for line in sorted(placed)
            if line <= lines
        ]
        # Not as properties of the element: with those goes the text that the server knows, which
        # would replace what has been typed since.
        self._run_editor("mark", marks, placed)
        with w.refill(self._problems):
            for problem in listed:
                said = on_page(str(problem))
                if problem.line is None:
                    w.sentence(said, "bad note")
                    continue
                show = partial(self._code.reveal_line, problem.line)
                w.button(quote_typed(said), show, kind="problem")

    # -- saving

    def _build_save(self) -> None:
        with ui.element("div").classes("savebar"):
            self._state = w.text("", "soft state", "span").props("role=status")
            self._others = w.text("", "warn", "span").props("role=status")
            if not self._open:
                return
            prompt = "What did you change, and why?"
            self._message = w.label_input(ui.input(placeholder=prompt), prompt)
            self._message.on("keydown.enter", self._save_once)
            self._undo = w.button("Discard", self._leave, kind="link")
            self._keep = w.button("Save", self._save_once, kind="primary", icon="save")
        self._show_state()

    def _show_state(self) -> None:
        words = "Unsaved changes" if self.is_changed else "No unsaved changes"
        if self._is_saving:
            words = "Saving …"
        elif not self._checked.is_set():
            words = "Checking …"
        elif self._controls.is_refused or (not self._valid and self.is_changed):
            to_correct = self._controls.name_wrong()
            words = f"This cannot be saved yet{f': correct {to_correct}' if to_correct else ''}"
        self._state.text = words
        if self._open:
            self._keep.set_enabled(not self._is_saving)
            is_begun = self.is_changed or self._controls.is_refused
            self._undo.set_enabled(is_begun and not self._is_saving)
            ask_before_leaving(self.is_changed)

    async def _agree_to_save(self, content: str) -> bool:
        """Whether what follows from a save was agreed to, of a text that can be saved."""
        return True

    def _tell_why_not(self) -> None:
        """Say why nothing is saved, and lead to the field, or to the line of what was typed."""
        if not self.is_changed or self._controls.name_wrong() or not self._listed:
            advise(f"{self._state.text}.")
            self._controls.lead_to_wrong()
            return
        first = self._listed[0]
        advise(f"{self._state.text}: {on_page(str(first))}")
        if first.line is not None:
            self._code.reveal_line(first.line)

    async def _save(self) -> None:
        """Save what is shown. The button is never disabled for what stands in the form: a field
        sends what was typed when it is left, which a press of the button may be the first to do."""
        while self._writing.locked() or not self._checked.is_set():
            async with self._writing:
                pass  # what was changed last is being put into the text
            await self._checked.wait()
        if self._is_gone():  # discarded meanwhile
            return
        if not self.is_changed or not self._valid or self._controls.is_refused:
            self._tell_why_not()
            return
        typed, sent = self._message.value or "", self._text
        if not await self._agree_to_save(sent) or self._is_gone():
            return
        if self._text != sent:
            advise("The text has changed since you pressed Save. Nothing was saved; save again.")
            return
        self._is_saving = True
        self._show_state()
        try:
            with errors_at(self._message, UsageError):
                saved = await self._store(sent, self._draft.hash, typed.strip())
            now = await self._read()
        except self.STALE:
            now = None
        finally:
            self._is_saving = False
            if not self._is_gone():
                self._show_state()
        if self._is_gone():
            return
        if now is None:
            await self._resolve_conflict()
            return
        notify(saved)
        await self._go_on(now, sent, typed)

    async def _go_on(self, now: D, sent: str, typed: str) -> None:
        """From what is kept now, with what was changed while it was saved.

        Args:
            sent, typed: the text and the message that were saved.
        """
        async with self._writing:
            self._draft = now
            if self._text == sent:
                self._text, self._is_typed = now.text, False
                self._code.set_value(now.text)
        self._others.text = ""
        if self._message.value == typed:
            self._message.value = ""
        self._saved = (await self._parse(now.text)).value
        if not self._is_gone():
            self._check_later(show=False)
            await self._on_saved(now)

    async def _leave(self) -> None:
        ask_before_leaving(False)
        await self._reopen()

    async def _watch_others(self) -> None:
        now = await self._read()
        if self._is_gone() or self._is_saving:
            return
        differs = now.hash != self._draft.hash
        self._others.text = f"{self._describe_save(now)} in the meantime." if differs else ""

    async def _resolve_conflict(self) -> None:
        theirs = await self._read()
        why = self._read_message(theirs)
        under = (
            f"{self._describe_save(theirs)} since you opened this{f': {why}' if why else ''}. "
            "Nothing was overwritten, and your changes are not lost."
        )
        chosen = await ask_which_to_keep(under, theirs.text, self._text)
        if chosen == "theirs":
            await self._leave()
        elif chosen == "mine":
            self._draft = theirs
            await self._save()


_EDITOR = files("assay.studio.shared").joinpath("editor.js").read_text(encoding="utf-8")
