"""What is said in a conversation, and what is called: each call in a line of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nicegui import ui

from assay.chat.plain_calls import say_call
from assay.example import Message, ToolCall
from assay.studio import widgets as w


def show_calls(calls: Sequence[ToolCall]) -> None:
    """The functions that a turn calls, in order; nothing where it calls none."""
    if calls:
        w.text("\n".join(map(say_call, calls)), "calls", "div")


def show_turn(message: Message, style: str = "") -> None:
    """What a turn says, then the functions that it calls.

    Args:
        style: of the words.
    """
    if message.content or not message.tool_calls:
        w.text(message.content, f"pre {style}", "div")
    show_calls(message.tool_calls)


def show_turns(messages: Iterable[Message]) -> None:
    """Turns one after the other, each under its role."""
    for message in messages:
        with ui.element("div"):
            w.text(message.role, "soft note", "div")
            show_turn(message)
