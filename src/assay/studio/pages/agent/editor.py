"""An agent being edited: form and text side by side, and a try of it as it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from assay.agent.agent import Agent
from assay.agent.edits import Draft, StaleEditError
from assay.agent.versions import AgentVersion
from assay.example import Message
from assay.project import agents
from assay.project.agents import drafts
from assay.project.agents.drafts import Validation
from assay.project.answer.gateway import AnswerStream
from assay.studio.dialogs import telling
from assay.studio.pages.agent.form import Form
from assay.studio.session import Visit, action
from assay.studio.shared.chat import passages_used, told_line
from assay.studio.shared.form_and_text import FormAndText, Reopen, Seen
from assay.studio.shared.streams import read as read_answer
from assay.studio.widgets import button, card, heading, named, row, somebody, text

_COUNTING = asyncio.Lock()
"""A tokenizer takes seconds to load: who comes meanwhile waits here, not in a thread."""


@action("viewer")
def validate(visit: Visit, content: str) -> Validation:
    """What a text says."""
    return drafts.validate(visit.workspace, content)


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
def ask(visit: Visit, content: str, messages: Sequence[Message]) -> AnswerStream:
    """What an agent that need not be saved answers."""
    return drafts.answer(visit.workspace, visit.engines, content, messages)


class Editing(FormAndText[Agent, Draft]):
    """One agent in one browser tab.

    Args:
        models, bases, arms: what can be chosen, see `Form`.
    """

    WHAT = "The agent as text"
    UNDER = "The same agent, in YAML. Ctrl-Space offers settings."
    STALE = StaleEditError

    def __init__(
        self,
        visit: Visit,
        draft: Draft,
        models: Sequence[str],
        bases: Sequence[str],
        arms: Mapping[str, str],
        reopen: Reopen,
    ) -> None:
        self._models, self._bases, self._arms = models, bases, arms
        self._to_count: Agent | None = None
        self._counting = False
        super().__init__(visit, draft, reopen)
        self._form.show(draft.agent)

    def _build_form(self) -> Form:
        self._form = Form(self._put, self._models, self._bases, self._arms, open=self._open)
        return self._form

    def _build_more(self) -> None:
        if self._open:
            self._build_try()

    def _completions(self) -> Mapping[str, Any]:
        return {name: {"info": meaning} for name, meaning in drafts.settings().items()}

    async def _look_at(self, content: str) -> Seen[Agent]:
        found = await self._visit.do(validate, content)
        return Seen(found.agent, found.problems, found.blank)

    async def _saw(self, seen: Seen[Agent]) -> None:
        self._form.tell_blank(seen.more)
        if seen.said is not None:
            await self._count(seen.said)

    def _edited(self, content: str, values: dict[str, Any]) -> str:
        return drafts.edited(content, values)

    async def _newest(self) -> Draft:
        return await self._visit.do(newest, self._draft.name)

    async def _keep_text(self, content: str, based_on: str, message: str) -> str:
        saved = await self._visit.do(save, self._draft.name, content, based_on, message)
        return f"Saved as {saved.label}. Releases keep what they serve until you promote it."

    def _who_saved(self, now: Draft) -> str:
        return f"{somebody(now.version.author)} has saved {now.version.label}"

    def _why(self, now: Draft) -> str:
        return now.version.message

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
