"""Inputs that show what a text says, and put into the text what a person fills in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from assay.studio import widgets as w

S = TypeVar("S")
"""What the text says: an agent, the settings of a project."""
V = TypeVar("V", bound=ValueElement[Any])
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
        self._parsed: S | None = None
        self._current = True
        self._controls: list[Control[S]] = []

    def show(self, parsed: S) -> None:
        """Let every control show what the text says."""
        self._parsed = parsed
        for control in self._controls:
            self._set(control, parsed)

    def accept(self, parsed: S) -> None:
        """What the text says after a change of this form's own: no control is touched."""
        self._parsed = parsed

    def freeze(self, frozen: bool) -> None:
        """Whether the text says nothing that a form could show at the moment."""
        self._current = not frozen
        self._freeze(frozen)

    def _freeze(self, frozen: bool) -> None:
        for control in self._controls:
            control.made.set_enabled(self._open and not frozen)  # type: ignore[attr-defined]

    def _control(
        self,
        made: V,
        read: Callable[[S], Any],
        write: Callable[[Any], dict[str, Any] | None],
    ) -> V:
        """Let an input show what `read` finds, and write the settings of `write` on a change."""
        made.set_enabled(self._open)  # type: ignore[attr-defined]
        control = Control(made, read, write)
        self._controls.append(control)
        made.on_value_change(lambda: self._changed(control))
        return made

    def _number(
        self,
        label: str,
        path: str,
        hint: str = "",
        *,
        meaning: str = "",
        step: float = 1,
        least: float = 0,
        optional: bool = False,
        percent: bool = False,
    ) -> None:
        """A number under a label; a whole one where the step is 1.

        Args:
            path: of the setting, with dots.
            optional: empty stands as null; else an empty input writes nothing.
            percent: a share is shown in 100.
        """
        read, whole = read_path(path), step == 1 and not percent

        def show(parsed: S) -> Any:
            value = read(parsed)
            return round(100 * value, 6) if percent and value is not None else value

        def write(value: float | None) -> dict[str, Any] | None:
            if value is None:
                return {path: None} if optional else None
            return {path: int(value) if whole else round(value / 100 if percent else value, 8)}

        made = ui.number(min=least, max=100 if percent else None, step=step).props(TYPING)
        shown = f"{label} (%)" if percent else label
        self._control(w.field(shown, made, hint, meaning=meaning, name=label), show, write)

    async def _changed(self, control: Control[S]) -> None:
        if self._parsed is None:
            return
        if self._current and control.made.value == control.read(self._parsed):
            return
        values = control.write(control.made.value)
        if values is not None:
            await self._put(values)

    def _set(self, control: Control[S], parsed: S) -> None:
        value = control.read(parsed)
        if isinstance(control.made, ui.select):
            _offer(control.made, value)
        if control.made.value != value:
            control.made.set_value(value)


def _offer(made: ui.select, value: Any) -> None:
    """Let a value be chosen that the text has, though it was not offered."""
    options = made.options
    if value in options:
        return
    if isinstance(options, dict):
        made.set_options({**options, value: value})
    else:
        made.set_options([*options, value])


def read_path(path: str) -> Callable[[Any], Any]:
    """Reads an attribute by its path with dots; None where something on the way is None."""
    names = path.split(".")

    def read(found: Any) -> Any:
        for name in names:
            found = getattr(found, name) if found is not None else None
        return found

    return read


def split_lines(value: str) -> list[str]:
    """The lines of a text that are not empty."""
    return [line.strip() for line in (value or "").splitlines() if line.strip()]
