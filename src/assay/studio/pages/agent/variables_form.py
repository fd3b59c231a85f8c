"""The variables of a system prompt as a table: a name, and the value that stands in its places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from assay.agent.variables import NAME
from assay.studio import widgets as w
from assay.studio.shared.controls import TYPING, Put


class VariablesForm:
    """What can be added, changed and taken out.

    A name that cannot be one yet is kept here, and put into the text once it can.

    Args:
        put: writes settings into the text.
        open: whether anything can be changed.
    """

    def __init__(self, put: Put, *, open: bool) -> None:
        self._put, self._open = put, open
        self._known: dict[str, str] = {}
        self._rows: list[list[str]] = []
        with ui.element("div").classes("stack"):
            self._box = ui.element("div")
            self._mistake = w.text("", "hint warn", "div").props("role=status")
            if open:
                with w.row():
                    w.button("Add a variable", self._add, kind="link", icon="data_object")

    def show(self, variables: Mapping[str, str]) -> None:
        """Show the variables that the text has."""
        if dict(variables) != self._known:
            self._known = dict(variables)
            self._rows = [[name, value] for name, value in variables.items()]
            self._draw()

    def accept(self, variables: Mapping[str, str]) -> None:
        """What the text says after a change of this form's own: no control is touched."""
        self._known = dict(variables)

    def _draw(self) -> None:
        self._box.clear()
        self._show_mistake()
        if not self._rows:
            return
        with self._box, w.table("Variable", "Value", "", label="Variables"):
            for number, pair in enumerate(self._rows):
                with ui.element("tr"):
                    for place, label in enumerate(("Name", "Value")):
                        with ui.element("td"):
                            self._input(pair, place, f"{label} of variable {number + 1}")
                    with ui.element("td"):
                        if self._open:
                            w.button(
                                "Remove",
                                lambda at=number: self._drop(at),
                                kind="link",
                                name=f"Remove variable {number + 1}",
                            )

    def _input(self, pair: list[str], place: int, label: str) -> None:
        value = pair[place]
        made = ui.textarea(value=value).props("autogrow") if place else ui.input(value=value)
        w.label_input(made.props(TYPING), label)
        made.set_enabled(self._open)

        async def changed(event: Any) -> None:
            pair[place] = event.value or ""
            await self._write()

        made.on_value_change(changed)

    def _add(self) -> None:
        self._rows.append(["", ""])
        self._draw()

    async def _drop(self, number: int) -> None:
        del self._rows[number]
        await self._write()
        self._draw()  # last: the button that was clicked goes with the row

    async def _write(self) -> None:
        self._show_mistake()
        if self._mistake.text:
            return
        wanted = {name: value for name, value in self._rows if name}
        if wanted != self._known:
            await self._put({"variables": wanted})

    def _show_mistake(self) -> None:
        names = [name for name, _ in self._rows if name]
        malformed = [name for name in names if not NAME.fullmatch(name)]
        repeated = [name for name in names if names.count(name) > 1]
        self._mistake.text = (
            f"{malformed[0]!r:.60} is not a valid name: use letters, _ and, except first, digits."
            if malformed
            else f"More than one variable is named {repeated[0]!r:.60}. Rename one."
            if repeated
            else ""
        )
