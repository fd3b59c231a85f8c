"""Playground: one message to several at once, each answer as it comes, with what it took."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from nicegui import ui

from assay.agent.agent import MOST_TEMPERATURE
from assay.agent.answering import GenerationOptions
from assay.candidates.registry import is_floor
from assay.chat.tool_text import name_of
from assay.compare.report import wording
from assay.errors import AssayError
from assay.example import Message
from assay.project import comparisons, releases
from assay.project.answer import playground
from assay.project.answer.names import ModelEntry
from assay.project.workspace import Workspace
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.frame import Page
from assay.studio.session import PageContext
from assay.studio.shared.chat import (
    EMPTY,
    describe_empty,
    describe_message,
    show_passages,
)
from assay.studio.shared.names import called_in_turn, plain_labels, typed_term, version_names
from assay.studio.shared.numbers import are_valid, number_input
from assay.studio.shared.streams import ask, format_tokens
from assay.studio.shared.turns import show_calls
from assay.studio.words import stand_alone

MOST = 4
"""Side by side; more cannot be read, and this machine answers one word at a time."""
_LONGEST_NAMES = 300
"""Characters of functions' names that are shown."""
VERSION = "version:"
KINDS = {
    "release": "release",
    "agent": "agent",
    "version": "version",
    "base": "base model",
}


async def build(context: PageContext) -> None:
    """Who is asked, what, and their answers."""
    w.title(
        "Playground",
        "Send one message to several models, agents or releases at once. A release answers exactly "
        "as it answers its callers; nothing is kept.",
    )
    offered = await context.read(playground.answerable_models)
    served = await context.read(_find_served)
    compared = await context.read(_find_compared)
    tools = await context.read(playground.offered_tools)
    if not offered:
        w.empty(
            "forum",
            "No models yet",
            "A model must be on this machine first.",
            act=("Pull a model", "/models") if context.may("editor") else None,
        )
        return
    with w.card():
        with w.row("top-aligned"):
            first = _choose_first(offered, served, compared)
            choice = _describe(offered, _call(offered, served))
            who = ui.select(choice, multiple=True, value=first).props("use-chips")
            w.field("Send to", who, f"Up to {MOST}.")
            with ui.element("div").classes("narrow"):
                made = number_input(least=0, most=MOST_TEMPERATURE, placeholder="default")
                temperature = w.field("Temperature", made, "0: always the same answer.")
            with ui.element("div").classes("narrow"):
                made = number_input(least=1, most=4096, whole=True, placeholder="default")
                label = "Longest answer"
                most = w.field(label, made, "In tokens.", name="Longest answer, in tokens")
        with w.details("Custom instructions"):
            w.text("They replace a release's own instructions for these requests.", "soft note")
            system = w.label_input(ui.textarea().props("autogrow"), "Custom instructions")
        entry = w.field(
            "Message",
            ui.textarea(placeholder="What would a customer write?").props("autogrow"),
            describe_message(context.workspace.config) or "",
        )
        if tools:
            may = shorten(", ".join(map(name_of, tools)), _LONGEST_NAMES, placeholder=" …")
            w.text(f"May be called, as in the first training row: {may}.", "soft note")
        with w.row():
            go = w.button("Send", kind="primary", icon="send")
            stop = w.button("Stop", icon="stop")
            stop.set_visibility(False)
            w.text("Ctrl + Enter", "soft note")
    columns = ui.element("div").classes("columns")
    going: list[asyncio.Task[None]] = []

    async def ask_all() -> None:
        words, names = (entry.value or "").strip(), list(who.value or ())
        entry.error = None if words else "Write a message first."
        who.error = _refuse_count(len(names))
        if entry.error or who.error or not go.enabled or not are_valid(temperature, most):
            return
        turns = [Message("user", words)]
        if (system.value or "").strip():
            turns.insert(0, Message("system", system.value.strip()))
        options = GenerationOptions(
            temperature=None if temperature.value is None else float(temperature.value),
            max_new_tokens=None if not most.value else int(most.value),
        )
        go.disable()
        stop.set_visibility(True)
        columns.clear()
        try:
            # A release may have got another agent since the page was opened.
            called = _call(offered, await context.read(_find_served))
            who.set_options(_describe(offered, called))
            with columns:
                shown = [_Column(name, called[name]) for name in names]
            going.extend(
                asyncio.create_task(column.fill(context, turns, options, tools)) for column in shown
            )
            for found in await asyncio.gather(*going, return_exceptions=True):
                if isinstance(found, Exception):
                    raise found
        finally:
            going.clear()
            go.enable()
            stop.set_visibility(False)

    def cancel() -> None:
        for task in going:
            task.cancel()

    go.on_click(ask_all)
    stop.on_click(cancel)
    entry.on("keydown.ctrl.enter", ask_all)
    ui.context.client.on_delete(cancel)


def _refuse_count(count: int) -> str | None:
    """Why so many cannot be asked; None: they can."""
    if not count:
        return "Choose who is to answer first."
    return None if count <= MOST else f"{count} are too many: at most {MOST} answer side by side."


class _Column:
    """One of those who are asked."""

    def __init__(self, name: str, called: str) -> None:
        self.name = name
        with w.card("tight"):
            with w.text("", "strong", "h2"):
                typed_term(called, name)
            with ui.element("div").classes("answer-text").props("aria-live=polite"):
                self.answer = w.text("…", "pre", "div")
                self.called = ui.element("div")
            self.took = w.text("", "took", "dl")
            self.used = ui.element("div")

    async def fill(
        self,
        context: PageContext,
        turns: list[Message],
        options: GenerationOptions,
        tools: Sequence[dict[str, Any]],
    ) -> None:
        """Ask, and show the answer as it comes."""
        try:
            reply = await ask(context, self.name, turns, self.answer.set_text, options, tools)
        except AssayError as error:
            self.answer.text = stand_alone(error)
            self.answer.classes("bad")
            return
        except asyncio.CancelledError:
            self._tell({"Ended": "stopped"})
            raise
        tokens = format_tokens(reply)
        took = wording.seconds(reply.seconds)
        if reply.completion_tokens and reply.seconds:
            speed = round(reply.completion_tokens / reply.seconds)
            took += f" ({say_count(speed, 'token')}/s)"
        self._tell(
            {
                "Cost at this speed": wording.usd(reply.usd),
                "Time to first token": wording.seconds(reply.first_s),
                "Total time": took,
                **({"Input + output tokens": tokens} if tokens else {}),
                **({"Route": called_in_turn(reply.asked)} if reply.asked else {}),
                "Ended": "normally" if reply.finish == "stop" else "cut off at the limit",
            }
        )
        if not self.used.is_deleted:
            with self.used:
                if reply.is_empty:
                    self.answer.text = EMPTY
                    w.text(describe_empty(context.workspace.config), "warn note")
                show_passages(reply)
            with self.called:
                show_calls(reply.calls)

    def _tell(self, figures: dict[str, str]) -> None:
        if self.took.is_deleted:
            return
        with self.took:
            for label, value in figures.items():
                w.text(label, tag="dt")
                w.text(value, tag="dd")


def _call(offered: list[ModelEntry], served: Mapping[str, str]) -> dict[str, str]:
    """What each is called, by the name that it is asked by; a release with the agent behind it,
    which stands in the list itself.

    Args:
        served: the agent version behind each release.
    """
    saved = {
        one.name.removeprefix(VERSION): one.created
        for one in offered
        if one.name.startswith(VERSION) and one.created is not None
    }
    versions = {f"{VERSION}{id}": name for id, name in version_names(saved).items()}
    saved_agents = [one.name for one in offered if one.kind == "agent"]
    agents = plain_labels([*saved_agents, *served.values()])
    behind = {name: f"{name} ({agents[agent]})" for name, agent in served.items()}
    known = {**agents, **behind, **versions}
    return {one.name: known.get(one.name, one.name) for one in offered}


def _describe(offered: list[ModelEntry], called: Mapping[str, str]) -> dict[str, str]:
    return {one.name: f"{called[one.name]} · {KINDS[one.kind]}" for one in offered}


def _find_served(workspace: Workspace) -> dict[str, str]:
    """The agent version behind each release."""
    return {one["name"]: one["agent"] for one in releases.list_releases(workspace)}


def _find_compared(workspace: Workspace) -> list[str]:
    """Agents of the newest comparison as NAME@VERSION, the one that it names first, then by score:
    others may be left from a comparison that was cancelled."""
    result = comparisons.newest(workspace)
    if result is None:
        return []
    named = result.verdict.named
    found = [one for one in wording.rank(result) if one.kind != "outside"]
    found.sort(key=lambda one: one.name != named)
    called = comparisons.labels(workspace, [one.agent for one in found])
    # Once each: searches that found nothing better are the same agent.
    return list(dict.fromkeys(called[one.agent] for one in found if one.agent in called))


def _choose_first(
    offered: list[ModelEntry], served: Mapping[str, str], compared: list[str]
) -> list[str]:
    """A release where there is one, beside another agent than the one behind it: the first of those
    that were compared, else any."""
    names = [one.name for one in offered if one.kind == "release"][:1]
    asked = {served.get(name) for name in names}
    saved = [one.name for one in offered if one.kind == "agent" and one.name not in asked]
    agents = [name for name in saved if not is_floor(name.partition("@")[0])]
    agents = [name for name in compared if name in agents] or agents
    return [*names, *agents[: 2 - len(names)]] or [offered[0].name]


PAGE = Page("/playground", "Playground", "forum", "Run", "viewer", build, wide=True, edited=False)
