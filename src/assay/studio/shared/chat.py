"""A chat with a release, and how to call it from elsewhere."""

from __future__ import annotations

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from assay.accounts import keys
from assay.compare.report import wording
from assay.example import Message
from assay.project.answer.playground import snippets
from assay.studio.dialogs import telling
from assay.studio.session import Visit, action
from assay.studio.shared.streams import Told, counted, stream
from assay.studio.widgets import button, card, code, heading, named, row, text

KEY_PLACE = "YOUR-KEY"


@action("admin")
def make_key(visit: Visit, name: str) -> str:
    """A key that may chat; its secret is returned this once."""
    workspace = visit.workspace
    return keys.create_key(workspace.store, workspace.name, name, ["chat"], workspace.who)[1]


def told_line(told: Told) -> str:
    """What an answer took."""
    parts = [
        f"{counted(told.prompt_tokens)} + {counted(told.completion_tokens)} tokens",
        f"{wording.seconds(told.first_s)} to the first word",
        f"{wording.seconds(told.seconds)} in all",
        f"{wording.usd(told.usd)}" if told.usd is not None else "cost unknown",
    ]
    if told.route:
        parts.append(f"asked {told.route}")
    if told.finish == "length":
        parts.append("cut at the limit")
    return " · ".join(parts)


def passages_used(told: Told) -> None:
    """The passages of documents that stood before the question, to be opened; or nothing."""
    if told.how is None or not told.how.passages:
        return
    with ui.element("details"):
        text("Passages used", tag="summary")
        shown = text(told.how.passages, "pre note passages", "div")
        shown.props('tabindex=0 role=region aria-label="Passages used"')


def chat(visit: Visit, name: str) -> None:
    """A conversation with whatever `name` stands for."""
    turns: list[Message] = []
    with card():
        heading(f"Try {name}", "As any program would ask it. Nothing of this is kept.")
        said = ui.element("div").classes("chat").props("role=log aria-live=polite")
        with row("ask"):
            asked = ui.textarea(placeholder="Write a message").props("autogrow rows=1")
            named(asked, "Your message")

            async def send() -> None:
                words = (asked.value or "").strip()
                if not words:
                    return
                asked.value = ""
                go.disable()
                with said:
                    text(words, "mine pre", "div")
                    answer = text("…", "theirs pre", "div")
                    took = text("", "soft note", "div")
                    used = ui.element("div")
                try:
                    with telling():
                        told = await stream(
                            visit,
                            name,
                            [*turns, Message("user", words)],
                            lambda so_far: _show(answer, so_far),
                        )
                        turns.extend([Message("user", words), Message("assistant", told.text)])
                        took.text = told_line(told)
                        with used:
                            passages_used(told)
                        return
                    answer.text = "No answer."
                finally:
                    go.enable()

            asked.on("keydown.enter.exact.prevent", send)
            go = button("Send", send, kind="primary", icon="send")


def _show(answer: TextElement, so_far: str) -> None:
    answer.text = so_far


def call_it(visit: Visit, name: str) -> None:
    """Snippets to copy, and a key to put into them."""
    with card():
        heading("Call it from your programs", "It speaks OpenAI's language: any client will do.")
        shown = ui.element("div").classes("stack")

        def show(key: str) -> None:
            shown.clear()
            with shown:
                texts = snippets(visit.address, name, key)
                with ui.tabs().props("no-caps align=left dense") as tabs:
                    for tool in texts:
                        ui.tab(tool)
                with ui.tab_panels(tabs, value="curl"):
                    for tool, content in texts.items():
                        with ui.tab_panel(tool):
                            code(content, f"{tool} snippet")

        show(KEY_PLACE)
        if visit.may("admin"):
            with row():

                async def click() -> None:
                    with telling():
                        secret = await visit.do(make_key, f"{name}, from the studio")
                        show(secret)
                        made.disable()
                        note.text = "The key is shown this once. Copy it now."

                made = button("Make a key", click, icon="key")
                note = text("It can chat, and nothing else.", "soft note")
