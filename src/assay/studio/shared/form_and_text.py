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
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from nicegui import background_tasks, ui

from assay.config.yaml_text import Problem
from assay.errors import StateError
from assay.studio.dialogs import put_away, say, telling
from assay.studio.scripts import expression
from assay.studio.session import Visit
from assay.studio.shared.controls import Controls, S
from assay.studio.shared.differences import lines_changed
from assay.studio.widgets import button, card, heading, named, row, text

LOOK_AFTER_S = 0.3
"""Typing that pauses so long is looked at."""
OTHERS_EVERY_S = 5.0
"""So often it is asked whether somebody else has saved."""

Reopen = Callable[[], Awaitable[None]]


class Text(Protocol):
    """What was read to be changed; a save wants its hash back."""

    @property
    def text(self) -> str:
        """As it is kept."""

    @property
    def hash(self) -> str:
        """Of the text."""


D = TypeVar("D", bound=Text)


@dataclass(frozen=True, slots=True)
class Seen(Generic[S]):
    """What a text says.

    Attributes:
        said: None where it says nothing that the form could show.
        problems: what keeps it from being saved; empty: nothing does.
        more: what else was found, for the editor of this kind.
    """

    said: S | None
    problems: Sequence[Problem]
    more: Any = None


class FormAndText(ABC, Generic[S, D]):
    """One thing that is edited in one browser tab.

    Args:
        draft: as it was read; what is saved is based on it.
        reopen: shows the thing anew, as it is kept then.
    """

    WHAT: ClassVar[str]
    """What the text is, for those who do not see it."""
    UNDER: ClassVar[str]
    """Under the heading of the text."""
    STALE: ClassVar[type[StateError]]
    """Raised by a save of what has changed since."""

    def __init__(self, visit: Visit, draft: D, reopen: Reopen) -> None:
        self._visit, self._draft, self._reopen = visit, draft, reopen
        self._open = visit.may("editor")
        self._text, self._valid = draft.text, True
        self._turn = 0
        self._writing = asyncio.Lock()
        with ui.element("div").classes("editor"):
            with card("form"):
                self._controls = self._build_form()
            with ui.element("div").classes("stack gap beside"):
                self._build_text()
                self._build_more()
        self._build_save()
        ui.timer(OTHERS_EVERY_S, self._notice_others)
        ui.timer(0.05, lambda: self._look(self._turn, show=True), once=True)

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
    async def _look_at(self, content: str) -> Seen[S]:
        """What a text says."""

    async def _saw(self, seen: Seen[S]) -> None:
        """Show what else was found."""

    @abstractmethod
    def _edited(self, content: str, values: dict[str, Any]) -> str:
        """A text with settings changed."""

    @abstractmethod
    async def _newest(self) -> D:
        """The thing as it is kept now."""

    @abstractmethod
    async def _keep_text(self, content: str, based_on: str, message: str) -> str:
        """Save; returns what is said of it."""

    @abstractmethod
    def _who_saved(self, now: D) -> str:
        """Who has saved what, as the beginning of a sentence: "ann has saved support@2"."""

    def _why(self, now: D) -> str:
        """What whoever saved it said about it."""
        return ""

    @property
    def changed(self) -> bool:
        """Whether there is something to save."""
        return self._text != self._draft.text

    @property
    def _gone(self) -> bool:
        """Whether the person has left, or the agent is shown anew."""
        return self._code.is_deleted

    # -- the text

    def _build_text(self) -> None:
        with card("yaml"):
            heading("As text", self.UNDER)
            self._code = ui.codemirror(
                self._text,
                language="YAML",
                theme="githubLight",
                indent="  ",
                line_wrapping=True,
                on_change=lambda event: self._typed(event.value),
                keymap={"Mod-s": self._save} if self._open else {},
            )
            self._code.set_enabled(self._open)
            self._problems = ui.element("div").classes("problems").props("role=status")
        self._complete()

    def _complete(self) -> None:
        """Offers settings with what they mean, names the editor for those who do not see it, and
        lets it be dark when the page is."""
        ui.run_javascript(expression(_COMPLETE, self._code.id, self._completions(), self.WHAT))

    def _typed(self, content: str) -> None:
        if content != self._text:
            self._text = content
            self._later(show=True)

    async def _put(self, values: dict[str, Any]) -> None:
        """Settings of the form, into the text."""
        async with self._writing:
            self._turn += 1  # a look that is under way would show what was before
            try:
                self._text = await asyncio.to_thread(self._edited, self._text, values)
            except BaseException:
                self._later(show=True)
                raise
            self._code.set_value(self._text)
            self._later(show=False)
            seen = await self._look_at(self._text)
            if seen.said is not None:
                self._controls.told(seen.said)

    def _later(self, *, show: bool) -> None:
        self._turn += 1
        self._tell_state("Looking at it …")
        turn = self._turn

        async def wait() -> None:
            await asyncio.sleep(LOOK_AFTER_S)
            with self._code.client:
                await self._look(turn, show=show)

        background_tasks.create(wait(), name="look at a draft")

    async def _look(self, turn: int, *, show: bool = False) -> None:
        if turn != self._turn or self._gone:
            return
        with telling():
            seen = await self._look_at(self._text)
            if turn != self._turn or self._gone:  # typed on meanwhile, or left
                return
            self._valid = not seen.problems
            self._controls.freeze(seen.said is None)
            if seen.said is not None and show:
                self._controls.show(seen.said)
            self._tell_problems(seen.problems)
            self._tell_state()
            await self._saw(seen)

    def _tell_problems(self, problems: Sequence[Problem]) -> None:
        placed = {p.line: p.message for p in problems if p.line is not None}
        lines = self._text.count("\n") + 1
        self._code.decorations = [
            {"kind": "line", "line": line, "class": "wrong-line"}
            for line in sorted(placed)
            if line <= lines
        ]
        self._code.line_tooltips = placed
        self._problems.clear()
        with self._problems:
            for problem in problems:
                if problem.line is None:
                    text(str(problem), "bad note")
                    continue
                line = problem.line
                button(str(problem), lambda line=line: self._code.reveal_line(line), kind="problem")

    # -- saving

    def _build_save(self) -> None:
        with ui.element("div").classes("savebar"):
            self._state = text("", "soft state", "span").props("role=status")
            self._others = text("", "warn", "span").props("role=status")
            if not self._open:
                text("You may look; an editor can change it.", "soft")
                return
            self._message = ui.input(placeholder="What did you change, and why?")
            named(self._message, "What did you change, and why?")
            self._message.on("keydown.enter", self._save)
            self._undo = button("Discard", self._discard, kind="link")
            self._keep = button("Save", self._save, kind="primary", icon="save")
        self._tell_state()

    def _tell_state(self, said: str | None = None) -> None:
        words = "Unsaved changes" if self.changed else "Nothing is unsaved"
        if not self._valid and self.changed:
            words = "This cannot be saved yet"
        self._state.text = said or words
        if self._open:
            self._keep.set_enabled(self.changed and self._valid and said is None)
            self._undo.set_enabled(self.changed)
            ui.run_javascript(_ASK_FIRST if self.changed else _ASK_NOTHING)

    async def _save(self) -> None:
        if not self.changed or not self._valid:
            return
        with self._code.client, telling():  # the client stays, whatever becomes of the editor
            message = (self._message.value or "").strip()
            try:
                said = await self._keep_text(self._text, self._draft.hash, message)
            except self.STALE:
                await self._conflict()
                return
            say(said)
            await self._reread()

    async def _reread(self) -> None:
        self._draft = await self._newest()
        self._text = self._draft.text
        await self._leave()

    async def _leave(self) -> None:
        ui.run_javascript(_ASK_NOTHING)
        await self._reopen()

    async def _discard(self) -> None:
        with telling():
            await self._leave()

    async def _notice_others(self) -> None:
        with telling():
            now = await self._newest()
            if self._gone:
                return
            differs = now.hash != self._draft.hash
            self._others.text = f"{self._who_saved(now)} meanwhile." if differs else ""

    async def _conflict(self) -> None:
        theirs = await self._newest()
        why = self._why(theirs)
        with ui.dialog() as dialog, ui.card().classes("studio wide-dialog"):
            heading(
                "Somebody was faster",
                f"{self._who_saved(theirs)} since you opened this{f': {why}' if why else ''}. "
                "Nothing was overwritten, and nothing of yours is lost.",
            )
            text("From theirs to yours:", "strong note")
            lines_changed(theirs.text, self._text)
            with row():
                button("Go on editing mine", lambda: dialog.submit("back"))
                button("Take theirs", lambda: dialog.submit("theirs"))
                button("Save mine on top", lambda: dialog.submit("mine"), kind="primary")
        chosen = await dialog
        put_away(dialog)
        if chosen == "theirs":
            await self._leave()
        elif chosen == "mine":
            self._draft = theirs
            await self._save()


_ASK_FIRST = "window.onbeforeunload = (e) => e.preventDefault()"
_ASK_NOTHING = "window.onbeforeunload = null"
_COMPLETE = """async (id, tree, label) => {
  const CM = await import("nicegui-codemirror");
  const found = () => getElement(id);
  const soon = () => new Promise((go) => setTimeout(go, 50));
  for (let tries = 0; !found() && tries < 100; tries++) await soon();
  const element = found();
  if (!element) return;  // left already
  await element.editorPromise;
  const settings = (names) => names.reduce((at, name) => at?.[name]?.settings, tree) ?? {};
  const sections = (state, number, column) => {  // that a line lies in, the outermost first
    const names = [];
    for (let n = number - 1; n >= 1 && column > 0; n--) {
      const key = state.doc.line(n).text.match(/^(\\s*(?:- +)*)([\\w.-]+):/);
      if (!key || key[1].length >= column) continue;
      names.unshift(key[2]);
      column = key[1].length;
    }
    return names;
  };
  const words = (values) => values.map((value) => ({ label: String(value), type: "constant" }));
  const offer = (context) => {
    const line = context.state.doc.lineAt(context.pos);
    const before = line.text.slice(0, context.pos - line.from);
    const value = before.match(/^(\\s*(?:- +)*)([\\w.-]+): +(?:\\[(?:[^\\]]*, *)?)?([\\w.-]*)$/);
    const key = before.match(/^(\\s*)((?:- +)*)([\\w.-]*)$/);
    if (!value && !key) return null;
    const typed = value ? value[3] : key[3];
    if (!typed && !context.explicit) return null;
    const from = context.pos - typed.length;
    if (value) {
      const within = settings(sections(context.state, line.number, value[1].length));
      const allowed = within[value[2]]?.values;
      return allowed ? { from, options: words(allowed) } : null;
    }
    const column = key[1].length + (key[2] ? 1 : 0);
    const names = sections(context.state, line.number, column);
    const list = settings(names.slice(0, -1))[names.at(-1)]?.values;
    if (key[2] && list) return { from, options: words(list) };
    const options = Object.entries(settings(names)).map(([name, one]) => (
      { label: name, type: "property", apply: name + (one.settings ? ":" : ": "), info: one.info }
    ));
    return { from, options };
  };
  element.editor.dispatch({ effects: CM.StateEffect.appendConfig.of([
    CM.EditorState.languageData.of(() => [{ autocomplete: offer }]),
    CM.EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
  ]) });
  const shade = () => {
    if (!element.editor.dom.isConnected) return watch.disconnect();
    element.setTheme(document.body.classList.contains("body--dark") ? "githubDark" : "githubLight");
  };
  const watch = new MutationObserver(shade);
  watch.observe(document.body, { attributeFilter: ["class"] });
  shade();
}"""
