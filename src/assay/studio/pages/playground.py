"""Playground: one message to several at once, each answer as it comes, with what it took."""

from __future__ import annotations

import asyncio

from nicegui import ui

from assay.agent.answering import GenerationOptions
from assay.candidates.registry import is_baseline
from assay.compare.report import wording
from assay.errors import AssayError
from assay.example import Message
from assay.project.answer import playground
from assay.project.answer.names import Offered
from assay.studio.frame import Page
from assay.studio.session import Visit
from assay.studio.shared.chat import passages_used
from assay.studio.shared.streams import counted, stream
from assay.studio.widgets import button, card, empty, field, named, row, text, title

MOST = 4
"""Side by side; more cannot be read, and this machine answers one word at a time."""
KINDS = {
    "release": "release",
    "agent": "agent",
    "version": "trained version",
    "base": "model as it comes",
}


async def build(visit: Visit) -> None:
    """Who is asked, what, and their answers."""
    title(
        "Playground",
        "Ask several at once what you would ask one. What is in a release is asked exactly as its "
        "callers would ask it; nothing of this is kept.",
    )
    offered = await visit.do(lambda v: playground.answering(v.workspace))
    if not offered:
        empty("forum", "There is nobody to ask yet", "A model is pulled with `assay models pull`.")
        return
    with card():
        with row("top-aligned"):
            with field("Ask", f"Up to {MOST}."):
                who = ui.select(
                    {one.name: f"{one.name} · {KINDS[one.kind]}" for one in offered},
                    multiple=True,
                    value=_first(offered),
                )
                who.props("use-chips")
                named(who, "Ask")
            with ui.element("div").classes("narrow"), field("Temperature", "0: always the same."):
                warmth = ui.number(value=None, min=0, max=2, step=0.1, placeholder="as it is set")
                named(warmth, "Temperature")
            with ui.element("div").classes("narrow"), field("Longest answer", "In tokens."):
                most = ui.number(value=None, min=1, max=4096, precision=0, placeholder="as it is")
                named(most, "Longest answer, in tokens")
        with ui.element("details"):
            text("Instructions of your own", tag="summary")
            text("They take the place of a release's own instructions for this try.", "soft note")
            system = ui.textarea().props("autogrow")
            named(system, "Instructions of your own")
        with field("Message"):
            asked = ui.textarea(placeholder="What would a customer write?").props("autogrow")
            named(asked, "Message")
        with row():
            go = button("Ask them", kind="primary", icon="send")
            stop = button("Stop", icon="stop")
            stop.set_visibility(False)
            text("Ctrl + Enter", "soft note")
    columns = ui.element("div").classes("columns")
    going: list[asyncio.Task[None]] = []

    async def ask() -> None:
        words, names = (asked.value or "").strip(), list(who.value or ())[:MOST]
        if not words or not names or going:
            return
        turns = [Message("user", words)]
        if (system.value or "").strip():
            turns.insert(0, Message("system", system.value.strip()))
        options = GenerationOptions(
            temperature=None if warmth.value is None else float(warmth.value),
            max_new_tokens=None if not most.value else int(most.value),
        )
        go.disable()
        stop.set_visibility(True)
        columns.clear()
        try:
            with columns:
                shown = [_Column(name) for name in names]
            going.extend(
                asyncio.create_task(column.fill(visit, turns, options)) for column in shown
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

    go.on_click(ask)
    stop.on_click(cancel)
    asked.on("keydown.ctrl.enter", ask)
    ui.context.client.on_delete(cancel)


class _Column:
    """One of those who are asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        with card("tight"):
            text(name, "strong", "h2")
            self.answer = text("…", "pre answer-text", "div").props("aria-live=polite")
            self.took = text("", "took", "dl")
            self.used = ui.element("div")

    async def fill(self, visit: Visit, turns: list[Message], options: GenerationOptions) -> None:
        """Ask, and show the answer as it comes."""
        try:
            told = await stream(visit, self.name, turns, self._show, options)
        except AssayError as error:
            self.answer.text = str(error)
            self.answer.classes("bad")
            return
        except asyncio.CancelledError:
            self._tell({"Ended": "stopped"})
            raise
        rate = (told.completion_tokens or 0) / told.seconds if told.seconds else 0.0
        self._tell(
            {
                "Cost, by itself": wording.usd(told.usd),
                "First word after": wording.seconds(told.first_s),
                "In all": f"{wording.seconds(told.seconds)} ({rate:.0f} tokens/s)",
                "Tokens in, out": ", ".join(
                    counted(tokens) for tokens in (told.prompt_tokens, told.completion_tokens)
                ),
                **({"Asked": told.route} if told.route else {}),
                "Ended": "by itself" if told.finish == "stop" else "cut at the limit",
            }
        )
        if not self.used.is_deleted:
            with self.used:
                passages_used(told)

    def _show(self, so_far: str) -> None:
        self.answer.text = so_far

    def _tell(self, figures: dict[str, str]) -> None:
        if self.took.is_deleted:
            return
        with self.took:
            for label, value in figures.items():
                text(label, tag="dt")
                text(value, tag="dd")


def _first(offered: list[Offered]) -> list[str]:
    """A release where there is one, beside the newest of another kind."""
    names = [one.name for one in offered if one.kind == "release"][:1]
    saved = [one.name for one in offered if one.kind == "agent"]
    agents = [name for name in saved if not is_baseline(name.partition("@")[0])]
    return [*names, *agents[: 2 - len(names)]] or [offered[0].name]


PAGE = Page("/playground", "Playground", "forum", "Run", "viewer", build, wide=True)
