"""Boxes to choose candidates by, in groups by what they need."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from nicegui import ui
from nicegui.element import Element

from assay.candidates import registry
from assay.studio import widgets as w

ALWAYS = (
    "Those that are ticked and cannot be changed always take part: they train no language model, "
    "and what is recommended has to be worth more."
)


class CandidateBoxes:
    """A box for each candidate and what it is, grouped by what they need, cheapest first.

    Attributes:
        boxes: by the candidates' names.
        told: says what is wrong with what is chosen.
    """

    def __init__(self, names: Iterable[str], chosen: Collection[str] = ()) -> None:
        self.boxes: dict[str, ui.checkbox] = {}
        self._lines: dict[str, Element] = {}
        self._groups: list[tuple[Element, list[str]]] = []
        self.told = w.text("", "bad note").props("role=alert")
        for group, members in registry.group_by_need(names).items():
            with ui.element("div") as block:
                w.text(group.capitalize(), "soft note")
                with ui.element("div").classes("choices"):
                    for name in members:
                        self._add(name, name in chosen)
            self._groups.append((block, members))

    def _add(self, name: str, chosen: bool) -> None:
        spec = registry.specs()[name]
        title = spec.title[:1].upper() + spec.title[1:]
        with w.row() as self._lines[name]:
            self.boxes[name] = w.checkbox(title, chosen)
            w.term("What is this?", spec.explanation)

    def include_always(self, names: Collection[str]) -> None:
        """Tick the boxes of candidates that take part whatever is chosen, and let them be."""
        for name in names:
            self.boxes[name].set_value(True)
            self.boxes[name].disable()

    def is_shown(self, name: str) -> bool:
        """Whether a candidate's box can be seen."""
        return bool(self._lines[name].visible)

    def show(self, names: Collection[str]) -> None:
        """Show the boxes of these candidates, and no others."""
        for name, line in self._lines.items():
            line.set_visibility(name in names)
        for block, members in self._groups:
            block.set_visibility(any(name in names for name in members))
