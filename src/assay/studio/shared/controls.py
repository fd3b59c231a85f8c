"""Inputs that show what a text says, and put into the text what a person fills in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from assay.studio.dialogs import telling
from assay.studio.widgets import field, named

S = TypeVar("S")
"""What the text says: an agent, the settings of a project."""
Put = Callable[[dict[str, Any]], Awaitable[None]]
"""Writes settings into the text."""
TYPING = "debounce=400"


@dataclass(frozen=True, slots=True)
class Control(Generic[S]):
    """One input of a form.

    Attributes:
        read: what it shows of what the text says.
        write: the settings that its value means, or None where it means none yet.
    """

    made: ValueElement[Any]
    read: Callable[[S], Any]
    write: Callable[[Any], dict[str, Any] | None]


class Controls(Generic[S]):
    """The inputs of a form.

    Args:
        put: writes settings into the text.
        open: whether anything can be changed.
    """

    def __init__(self, put: Put, *, open: bool) -> None:
        self._put, self._open = put, open
        self._said: S | None = None
        self._current = True
        self._controls: list[Control[S]] = []

    def show(self, said: S) -> None:
        """Let every control show what the text says."""
        self._said = said
        for control in self._controls:
            self._set(control, said)

    def told(self, said: S) -> None:
        """What the text says after a change of this form's own: no control is touched."""
        self._said = said

    def freeze(self, frozen: bool) -> None:
        """Whether the text says nothing that a form could show at the moment."""
        self._current = not frozen
        self._freeze(frozen)

    def _freeze(self, frozen: bool) -> None:
        for control in self._controls:
            control.made.set_enabled(self._open and not frozen)  # type: ignore[attr-defined]

    def _control(
        self,
        made: ValueElement[Any],
        label: str,
        read: Callable[[S], Any],
        write: Callable[[Any], dict[str, Any] | None],
    ) -> None:
        named(made, label)
        made.set_enabled(self._open)  # type: ignore[attr-defined]
        control = Control(made, read, write)
        self._controls.append(control)

        async def changed() -> None:
            with telling():
                await self._changed(control)

        made.on_value_change(changed)

    def _number(
        self, label: str, read: Callable[[S], Any], path: str, hint: str, step: float
    ) -> None:
        """A number that must be there; whole ones step by 1."""
        with field(label, hint):
            made = ui.number(step=step, min=0).props(TYPING)

            def write(value: float | None) -> dict[str, Any] | None:
                if value is None:
                    return None
                return {path: value if step < 1 else int(value)}

            self._control(made, label, read, write)

    async def _changed(self, control: Control[S]) -> None:
        if self._said is None:
            return
        if self._current and control.made.value == control.read(self._said):
            return
        values = control.write(control.made.value)
        if values is not None:
            await self._put(values)

    def _set(self, control: Control[S], said: S) -> None:
        value = control.read(said)
        self._offer(control, value)
        if control.made.value != value:
            control.made.set_value(value)

    def _offer(self, control: Control[S], value: Any) -> None:
        """See that a value can be chosen, where a list is chosen from."""
