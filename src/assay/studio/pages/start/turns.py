"""Which turns of conversations are rows, where a person may want it otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from assay.data.formats import openai_chat, openai_turns
from assay.project.start.init import Draft
from assay.quantities import say_count
from assay.studio import widgets as w


def choose_turns(drafted: Draft, choose: Callable[[str], Awaitable[None]]) -> None:
    """Let a person choose; nothing where there is no choice.

    Args:
        choose: called with the format that was chosen.
    """
    if drafted.turns is None:
        return
    names = {
        openai_turns.NAME: f"Each turn of the assistant ({say_count(drafted.turns.rows, 'row')})",
        openai_chat.SHAPE.name: "Each conversation "
        f"({say_count(drafted.turns.records, 'row')}): all turns learned, the last one measured",
    }
    made = w.field(
        "What is a row",
        ui.select(names, value=drafted.detected.format),
        "Rows of one conversation stay together.",
    )
    made.on_value_change(lambda: choose(made.value))
