"""An agent being edited: form and text side by side, on one model, which is the text.

The form changes the text setting by setting, so that comments stay; what is typed into the text is
shown in the form. Only what can answer can be saved, and nobody's save is lost: an edit of
something that has changed since is told, with what changed, and never written over it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from nicegui import background_tasks, ui

from assay.agent.agent import Agent
from assay.agent.edits import Draft, StaleEditError
from assay.agent.versions import AgentVersion
from assay.example import Message
from assay.project import agents, drafts
from assay.project.answering import Routed
from assay.project.drafts import Look
from assay.studio.agent_form import Form
from assay.studio.asking import put_away
from assay.studio.differences import lines_changed
from assay.studio.frame import say, telling
from assay.studio.parts import button, card, heading, named, row, somebody, text
from assay.studio.streams import read as read_answer
from assay.studio.trying import passages_used, told_line
from assay.studio.visit import Visit, action

LOOK_AFTER_S = 0.3
"""Typing that pauses so long is looked at."""
OTHERS_EVERY_S = 5.0
"""So often it is asked whether somebody else has saved."""

_COUNTING = asyncio.Lock()
"""A tokenizer takes seconds to load: who comes meanwhile waits here, not in a thread."""

Reopen = Callable[[], Awaitable[None]]


@action("viewer")
def look(visit: Visit, content: str) -> Look:
    """What a text says."""
    return drafts.look(visit.workspace, content)


@action("viewer")
def count(visit: Visit, agent: Agent) -> int | None:
    """Tokens that an agent puts before every conversation."""
    return drafts.tokens(visit.workspace, agent)


@action("viewer")
def newest(visit: Visit, name: str) -> Draft:
    """An agent as it is now."""
    return agents.read(visit.workspace, name)


@action("editor")
def save(visit: Visit, name: str, content: str, based_on: str | None, message: str) -> AgentVersion:
    """Keep a text as the next version."""
    return agents.save(visit.workspace, name, content, based_on=based_on, message=message)


@action("editor")
def ask(visit: Visit, content: str, messages: Sequence[Message]) -> Routed:
    """What an agent that need not be saved answers."""
    return drafts.answer(visit.workspace, visit.engines, content, messages)


class Editing:
    """One agent in one browser tab.

    Args:
        draft: as it was read; what is saved is based on it.
        models, bases, arms: what can be chosen, see `Form`.
        reopen: shows the agent anew, as it is in the store then.
    """

    def __init__(
        self,
        visit: Visit,
        draft: Draft,
        models: Sequence[str],
        bases: Sequence[str],
        arms: Mapping[str, str],
        reopen: Reopen,
    ) -> None:
        self._visit, self._draft, self._reopen = visit, draft, reopen
        self._open = visit.may("editor")
        self._text, self._valid = draft.text, True
        self._turn = 0
        self._writing = asyncio.Lock()
        self._to_count: Agent | None = None
        self._counting = False
        with ui.element("div").classes("editor"):
            with card("form"):
                self._form = Form(self._put, models, bases, arms, open=self._open)
            with ui.element("div").classes("stack gap beside"):
                self._build_text()
                if self._open:
                    self._build_try()
        self._build_save()
        self._form.show(draft.agent)
        ui.timer(OTHERS_EVERY_S, self._notice_others)
        ui.timer(0.05, lambda: self._look(self._turn), once=True)

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
            heading("As text", "The same agent, in YAML. Ctrl-Space offers settings.")
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
        settings = [
            {"label": name, "type": "property", "apply": f"{name}: ", "info": meaning}
            for name, meaning in drafts.settings().items()
        ]
        ui.run_javascript(_COMPLETE % (self._code.id, json.dumps(settings)))

    def _typed(self, content: str) -> None:
        if content != self._text:
            self._text = content
            self._later(show=True)

    async def _put(self, values: dict[str, Any]) -> None:
        """Settings of the form, into the text."""
        async with self._writing:
            self._text = await asyncio.to_thread(drafts.edited, self._text, values)
            self._code.set_value(self._text)
            self._later(show=False)
            found = await self._visit.do(look, self._text)
            if found.agent is not None:
                self._form.told(found.agent)

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
            found = await self._visit.do(look, self._text)
            if turn != self._turn or self._gone:  # typed on meanwhile, or left
                return
            self._valid = not found.problems
            self._form.freeze(found.agent is None)
            if found.agent is not None and show:
                self._form.show(found.agent)
            self._tell_problems(found)
            self._tell_state()
            self._form.tell_blank(found.blank)
            if found.agent is not None:
                await self._count(found.agent)

    async def _count(self, agent: Agent) -> None:
        """Count the tokens of the agent as it is at last; one count at a time."""
        self._to_count = agent
        if self._counting:
            return
        self._counting = True
        try:
            while self._to_count is not None:
                wanted, self._to_count = self._to_count, None
                async with _COUNTING:
                    tokens = await self._visit.do(count, wanted)
                if self._gone:
                    return
                self._form.tell_tokens(tokens)
        finally:
            self._counting = False

    def _tell_problems(self, found: Look) -> None:
        placed = {p.line: p.message for p in found.problems if p.line is not None}
        lines = self._text.count("\n") + 1
        self._code.decorations = [
            {"kind": "line", "line": line, "class": "wrong-line"}
            for line in sorted(placed)
            if line <= lines
        ]
        self._code.line_tooltips = placed
        self._problems.clear()
        with self._problems:
            for problem in found.problems:
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
            ask_first = "(e) => e.preventDefault()" if self.changed else "null"
            ui.run_javascript(f"window.onbeforeunload = {ask_first}")

    async def _save(self) -> None:
        if not self.changed:
            return
        with telling():
            message = (self._message.value or "").strip()
            try:
                saved = await self._visit.do(
                    save, self._draft.name, self._text, self._draft.hash, message
                )
            except StaleEditError:
                await self._conflict()
                return
            say(f"Saved as {saved.label}. Releases keep what they serve until you promote it.")
            await self._reread()

    async def _reread(self) -> None:
        self._draft = await self._visit.do(newest, self._draft.name)
        self._text = self._draft.text
        await self._leave()

    async def _leave(self) -> None:
        ui.run_javascript("window.onbeforeunload = null")
        await self._reopen()

    async def _discard(self) -> None:
        with telling():
            await self._leave()

    async def _notice_others(self) -> None:
        with telling():
            now = await self._visit.do(newest, self._draft.name)
            if self._gone:
                return
            version = now.version
            self._others.text = (
                f"{somebody(version.author)} has saved {version.label} meanwhile."
                if now.hash != self._draft.hash
                else ""
            )

    async def _conflict(self) -> None:
        theirs = await self._visit.do(newest, self._draft.name)
        version = theirs.version
        with ui.dialog() as dialog, ui.card().classes("studio wide-dialog"):
            heading(
                "Somebody was faster",
                f"{somebody(version.author)} has saved {version.label} since you opened this"
                f"{f': {version.message}' if version.message else ''}. Nothing was overwritten, "
                "and nothing of yours is lost.",
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

    # -- trying

    def _build_try(self) -> None:
        with card():
            heading("Try it", "As it stands here, unsaved changes included. Nothing is kept.")
            asked = ui.textarea(placeholder="Write what a user would").props("autogrow")
            named(asked, "What a user would write")
            answer = text("", "pre theirs-alone", "div").props("aria-live=polite")
            answer.set_visibility(False)
            took = text("", "soft note")
            used = ui.element("div")

            async def go() -> None:
                words = (asked.value or "").strip()
                if not words:
                    return
                answer.set_visibility(True)
                answer.text, took.text = "…", ""
                used.clear()
                tried.disable()
                answered = False
                try:
                    with telling():
                        stream = await self._visit.do(ask, self._text, [Message("user", words)])
                        told = await read_answer(self._visit, stream, show)
                        took.text = told_line(told)
                        with used:
                            passages_used(told)
                        answered = True
                    if not answered:
                        answer.set_visibility(False)
                finally:
                    if not self._gone:
                        tried.enable()

            def show(so_far: str) -> None:
                if self._gone:
                    raise asyncio.CancelledError  # nobody reads on: the engine is free again
                answer.text = so_far

            asked.on("keydown.ctrl.enter", go)
            with row():
                tried = button("Try it", go, icon="play_arrow")


_COMPLETE = """(async () => {
  const CM = await import("nicegui-codemirror");
  const found = () => getElement(%d);
  const soon = () => new Promise((go) => setTimeout(go, 50));
  for (let tries = 0; !found() && tries < 100; tries++) await soon();
  const element = found();
  if (!element) return;  // left already
  await element.editorPromise;
  const settings = %s;
  const offer = (context) => {
    const word = context.matchBefore(/^\\w*/);
    if (!word || (word.from === word.to && !context.explicit)) return null;
    return { from: word.from, options: settings };
  };
  element.editor.dispatch({ effects: CM.StateEffect.appendConfig.of([
    CM.EditorState.languageData.of(() => [{ autocomplete: offer }]),
    CM.EditorView.contentAttributes.of({ "aria-label": "The agent as text" }),
  ]) });
  const shade = () => {
    if (!element.editor.dom.isConnected) return watch.disconnect();
    element.setTheme(document.body.classList.contains("body--dark") ? "githubDark" : "githubLight");
  };
  const watch = new MutationObserver(shade);
  watch.observe(document.body, { attributeFilter: ["class"] });
  shade();
})()"""
