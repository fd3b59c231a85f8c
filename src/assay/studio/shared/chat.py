"""A chat with a release, and how to call it from elsewhere."""

from __future__ import annotations

from nicegui import ui

from assay.accounts import keys
from assay.compare.report import wording
from assay.config import Config
from assay.errors import AssayError
from assay.example import Message
from assay.project.answer.playground import is_conversation, offered_tools, snippets
from assay.studio import widgets as w
from assay.studio.browser import lead_to
from assay.studio.session import PageContext, action
from assay.studio.shared.names import called_in_turn
from assay.studio.shared.streams import Reply, ask, format_tokens
from assay.studio.shared.turns import show_calls

KEY_PLACE = "YOUR-KEY"


@action("admin")
def make_key(context: PageContext, name: str) -> str:
    """A key that may chat; its secret is returned this once."""
    workspace = context.workspace
    store, project = workspace.store, workspace.name
    free = keys.free_name(store, project, name)
    return keys.create_key(store, project, free, ["chat"], workspace.who)[1]


def describe_reply(reply: Reply) -> str:
    """The tokens, seconds and price of an answer, in a line."""
    tokens = format_tokens(reply)
    parts = [
        *([f"{tokens} tokens"] if tokens else []),
        f"{wording.seconds(reply.first_s)} to first token",
        f"{wording.seconds(reply.seconds)} total",
        f"{wording.usd(reply.usd)}" if reply.usd is not None else "cost unknown",
    ]
    if reply.asked:
        parts.append(f"route {called_in_turn(reply.asked)}")
    if reply.finish == "length":
        parts.append("cut off at the limit")
    return " · ".join(parts)


def show_passages(reply: Reply) -> None:
    """The passages of documents that stood before the question, if there were any."""
    if reply.how is None or not reply.how.passages:
        return
    with w.details("Passages used"):
        shown = w.text(reply.how.passages, "pre note passages", "div")
        shown.props('tabindex=0 role=region aria-label="Passages used"')


EMPTY = "(empty answer)"
BELOW = 10**7
"""Pixels down to the end of any chat."""


def describe_empty(config: Config | None) -> str:
    """What an answer without a word means, and where another is set.

    Args:
        config: of the project; None: there is none.
    """
    said = "The answer is empty: whoever asks gets no text."
    if config is None or config.knowledge is None or config.knowledge.abstain is not None:
        return said
    return (
        f"{said} Where no document has the answer, “Answer where no document has one” in Settings "
        "is given instead; it is empty now. It counts from the next comparison on, in a release "
        "once its result is promoted."
    )


def describe_message(config: Config | None) -> str | None:
    """How a message has to be written for it to be like the examples; None: in any way.

    Args:
        config: of the project; None: there is none.
    """
    columns = None if config is None else config.data.columns
    if columns is None or len(columns.input) == 1:
        return None
    lines = ", ".join(f"“{name}: …”" for name in columns.input)
    return (
        f"Your examples have a line for each input column. Write messages in the same way: {lines}."
    )


def show_message_form(context: PageContext) -> None:
    """Say how a message has to be written, if it matters."""
    if said := describe_message(context.workspace.config):
        w.text(said, "soft note")


async def chat_card(context: PageContext, name: str) -> None:
    """Messages to whatever `name` stands for. They are one conversation where the project's
    examples are conversations; else each is sent by itself, as each of the examples was."""
    goes_on = await context.read(is_conversation)
    turns: list[Message] = []
    under = "It answers as it answers any program. Nothing is kept."
    if not goes_on:
        under += " Each message is answered by itself, as in your examples."
    with w.section(f"Try {name}", under):
        show_message_form(context)
        log = ui.element("div").classes("chat").props("role=log aria-live=polite")
        if not goes_on:
            log.classes("apart")
        with w.row("ask"):
            entry = w.label_input(
                ui.textarea(placeholder="Write a message").props("autogrow rows=1"), "Your message"
            )

            async def send() -> None:
                question = (entry.value or "").strip()
                entry.error = None if question else "Write a message first."
                if not question:
                    return
                entry.value = ""
                go.disable()
                anew.disable()
                with log, ui.element("div").classes("exchange"):
                    w.text(question, "mine pre", "div")
                    with ui.element("div").classes("theirs"):
                        answer = w.text("…", "pre", "div")
                        called = ui.element("div")
                    took = w.text("", "soft note", "div")
                    used = ui.element("div")
                log.run_method("scrollTo", 0, BELOW)
                asked = [*turns, Message("user", question)]
                try:
                    tools = await context.read(offered_tools)
                    reply = await ask(context, name, asked, answer.set_text, tools=tools)
                except AssayError:
                    answer.text = "No answer."
                    raise
                finally:
                    go.enable()
                    anew.enable()
                if goes_on:
                    # Calls as text: no result will follow them, which some templates refuse.
                    said = Message("assistant", reply.text, reply.calls).text
                    turns[:] = [*asked, Message("assistant", said)]
                took.text = describe_reply(reply)
                with called:
                    show_calls(reply.calls)
                with used:
                    if reply.is_empty:
                        answer.text = EMPTY
                        w.text(describe_empty(context.workspace.config), "warn note")
                    show_passages(reply)
                log.run_method("scrollTo", 0, BELOW)

            def begin_anew() -> None:
                turns.clear()
                log.clear()
                anew.disable()
                lead_to(entry)

            once = w.one_by_one(send)
            entry.on("keydown.enter.exact.prevent", once)
            go = w.button("Send", once, kind="primary", icon="send")
        with w.row() as below:
            anew = w.button("New conversation", begin_anew, icon="add_comment")
            anew.disable()
        below.set_visibility(goes_on)


def snippets_card(context: PageContext, name: str) -> None:
    """Snippets to copy, and a key to put into them."""
    with w.section(
        "Call it from your programs", "It is compatible with the OpenAI API: any client works."
    ):
        show_message_form(context)
        shown = ui.element("div").classes("stack")

        chosen = "curl"

        def choose(tool: str) -> None:
            nonlocal chosen
            chosen = tool

        def show(key: str) -> None:
            with w.refill(shown):
                texts = snippets(context.address, name, key)
                panels = w.tab_panels({tool: tool for tool in texts}, chosen, choose)
                for tool, content in texts.items():
                    with panels[tool]:
                        w.code(content, f"{tool} snippet")

        show(KEY_PLACE)
        if not context.may("admin"):
            return

        async def click() -> None:
            show(await context.do(make_key, f"{name}, from the studio"))
            made.disable()
            note.text = "The key is shown only once. Copy it now."

        with w.row():
            made = w.button("Create key", click, icon="key")
            note = w.text("It can only be used for chat.", "soft note")
