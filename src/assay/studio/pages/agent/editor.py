"""An agent being edited: form and text side by side, and a try of it as it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from nicegui import ui

from assay.accounts.authors import format_author
from assay.agent.agent import Agent
from assay.agent.edits import Draft, StaleEditError
from assay.errors import AssayError
from assay.example import Message
from assay.project import agents
from assay.project.agents import drafts
from assay.project.answer.answering import AnswerStream
from assay.studio import widgets as w
from assay.studio.pages.agent.form import AgentForm
from assay.studio.session import PageContext, Refresh, action, workspace_action
from assay.studio.shared.chat import describe_reply, show_passages
from assay.studio.shared.form_and_text import FormAndText, ParsedText
from assay.studio.shared.streams import read_answer
from assay.studio.shared.turns import show_calls

_COUNTING = asyncio.Lock()
"""A tokenizer takes seconds to load: who comes meanwhile waits here, not in a thread."""

save_agent = workspace_action("editor", agents.save)


@action("editor")
def ask_draft(context: PageContext, content: str, messages: Sequence[Message]) -> AnswerStream:
    """What an agent that need not be saved answers."""
    return drafts.answer(context.workspace, context.engines, content, messages)


class AgentEditor(FormAndText[Agent, Draft]):
    """One agent in one browser tab.

    Args:
        models, bases, arms: what can be chosen, see `AgentForm`.
    """

    WHAT = "Agent as text"
    UNDER = "The same agent as YAML. Ctrl-Space suggests settings."
    STALE = StaleEditError

    def __init__(
        self,
        context: PageContext,
        draft: Draft,
        models: Sequence[str],
        bases: Sequence[str],
        arms: Mapping[str, str],
        reopen: Refresh,
        saved: Callable[[Draft], Awaitable[None]],
    ) -> None:
        self._models, self._bases, self._arms = models, bases, arms
        self._to_count: Agent | None = None
        self._counting = False
        super().__init__(context, draft, reopen, saved)
        self._form.show(draft.agent)

    def _build_form(self) -> AgentForm:
        config = self._context.workspace.config
        self._form = AgentForm(
            self._put, self._models, self._bases, self._arms, config, open=self._open
        )
        return self._form

    def _build_more(self) -> None:
        if self._open:
            self._build_try()

    def _completions(self) -> Mapping[str, Any]:
        return {name: {"info": meaning} for name, meaning in drafts.settings().items()}

    async def _parse(self, content: str) -> ParsedText[Agent]:
        found = await self._context.read(drafts.validate, content)
        return ParsedText(found.agent, found.problems, found.blank)

    async def _show_more(self, parsed: ParsedText[Agent]) -> None:
        self._form.show_blank(parsed.more)
        if parsed.value is not None:
            await self._count(parsed.value)

    def _edit(self, content: str, values: dict[str, Any]) -> str:
        return drafts.edit(content, values)

    async def _read(self) -> Draft:
        return await self._context.read(agents.read, self._draft.name)

    async def _store(self, content: str, based_on: str, message: str) -> str:
        saved = await self._context.do(
            save_agent, self._draft.name, content, based_on=based_on, message=message
        )
        return f"Saved as version {saved.version}. Releases do not change until you promote it."

    def _describe_save(self, now: Draft) -> str:
        return f"{format_author(now.version.author)} has saved version {now.version.version}"

    def _read_message(self, now: Draft) -> str:
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
                    tokens = await self._context.read(drafts.tokens, wanted)
                if self._is_gone():
                    return
                self._form.show_tokens(tokens)
        finally:
            self._counting = False

    def _build_try(self) -> None:
        with w.section(
            "Try it", "Uses the agent as shown here, unsaved changes included. Nothing is kept."
        ):
            entry = w.label_input(
                ui.textarea(placeholder="Type a message as a user would").props("autogrow"),
                "Test message",
            )
            shown = ui.element("div").classes("theirs-alone").props("aria-live=polite")
            shown.set_visibility(False)
            with shown:
                answer = w.text("", "pre", "div")
                called = ui.element("div")
            took = w.text("", "soft note")
            used = ui.element("div")

            async def run() -> None:
                question = (entry.value or "").strip()
                entry.error = None if question else "Write a message first."
                if not question:
                    return
                shown.set_visibility(True)
                answer.text, took.text = "…", ""
                used.clear()
                called.clear()
                try_button.disable()
                messages = [Message("user", question)]
                try:
                    stream = await self._context.do(ask_draft, self._text, messages)
                    reply = await read_answer(self._context, stream, show)
                except AssayError:
                    shown.set_visibility(False)
                    raise
                finally:
                    if not self._is_gone():
                        try_button.enable()
                took.text = describe_reply(reply)
                with called:
                    show_calls(reply.calls)
                with used:
                    show_passages(reply)

            def show(so_far: str) -> None:
                if self._is_gone():
                    raise asyncio.CancelledError  # nobody reads on: the engine is free again
                answer.text = so_far

            once = w.one_by_one(run)  # by button or key: each asks a model, and some are paid
            entry.on("keydown.ctrl.enter", once)
            with w.row():
                try_button = w.button("Try it", once, icon="play_arrow")
