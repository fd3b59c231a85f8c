"""The route of an agent that chooses between others: who answers, and when, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from assay.agent.route import Route, Rule, Rules
from assay.studio import widgets as w
from assay.studio.shared.controls import TYPING, Put
from assay.studio.shared.numbers import NO_NUMBER, are_valid, number_input

MEANINGS = {
    "rules": "The first rule that matches decides which agent answers.",
    "cascade": "The first agent answers; if it is not sure enough, the second one answers instead.",
    "learned": "A model reads the message and predicts how likely each agent is to be right. The "
    "second agent answers if its predicted gain is above the threshold.",
}


class RouteForm:
    """What can be changed of a route; more is in the text.

    Args:
        put: writes settings into the text.
        arms: agents that can answer, `NAME@VERSION` by id.
        open: whether anything can be changed.
    """

    def __init__(self, put: Put, arms: Mapping[str, str], *, open: bool) -> None:
        self._put, self._arms, self._open = put, dict(arms), open
        self._route: Route | None = None
        self._box = ui.element("div").classes("stack gap")
        self._box.set_visibility(False)

    def show(self, route: Route | None) -> None:
        """What the text says; None: it has no route."""
        if route == self._route:
            return
        self._route = route
        self._box.clear()
        self._box.set_visibility(route is not None)
        if route is None:
            return
        with self._box:
            w.heading("Route", MEANINGS[route.kind])
            if isinstance(route, Rules):
                for number, rule in enumerate(route.rules):
                    self._rule(number, rule)
                self._arm("Otherwise", route.otherwise, lambda id: {"route.otherwise": id})
                return
            with ui.element("div").classes("split"):
                self._arm("First agent", route.cheap, lambda id: {"route.cheap": id})
                self._arm("Second agent", route.strong, lambda id: {"route.strong": id})
            often = "more" if route.kind == "cascade" else "less"
            made = number_input(
                route.threshold, missing=NO_NUMBER, of=(type(route), "threshold")
            ).props(TYPING)
            w.field(
                "Threshold", made, f"The higher it is, the {often} often the second agent answers."
            )
            self._connect(made, lambda v: {"route.threshold": v} if are_valid(made) else None)

    def accept(self, route: Route | None) -> None:
        """What the text says after a change of this form's own: no control is touched."""
        self._route = route

    def _rule(self, number: int, rule: Rule) -> None:
        def changed(name: str, value: str) -> dict[str, Any] | None:
            if not value or not isinstance(self._route, Rules):
                return None
            rules = [one.model_dump(mode="json", exclude_none=True) for one in self._route.rules]
            rules[number][name] = value
            return {"route.rules": rules}

        conditions = rule.model_dump(mode="json", exclude_none=True, exclude={"to", "pattern"})
        with w.row("top-aligned"):
            if rule.pattern is not None:
                w.field(
                    "If the message contains",
                    made := ui.input(value=rule.pattern).props(TYPING),
                    "A word or a regular expression.",
                    name=f"Rule {number + 1}: if the message contains",
                )
                self._connect(made, lambda value: changed("pattern", value))
            label = "Then" if rule.pattern is not None else f"Rule {number + 1}: then"
            self._arm(label, rule.to, lambda id: changed("to", id))
        for name, value in conditions.items():
            words = ", ".join(value) if isinstance(value, list) else value
            w.text(f"{name.replace('_', ' ').capitalize()}: {words}.", "soft note")

    def _arm(self, label: str, id: str, write: Callable[[str], dict[str, Any] | None]) -> None:
        known = {id: id[:12], **self._arms}
        made = w.field(label, ui.select(known, value=id), name=f"Route: {label}")
        self._connect(made, write)

    def _connect(
        self, made: ValueElement[Any], write: Callable[[Any], dict[str, Any] | None]
    ) -> None:
        """Write the settings that a value means on a change."""
        made.set_enabled(self._open)  # type: ignore[attr-defined]

        async def changed() -> None:
            values = write(made.value)
            if values is not None:
                await self._put(values)

        made.on_value_change(changed)
