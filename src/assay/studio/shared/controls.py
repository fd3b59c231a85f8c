"""Inputs that show what a text says, and put into the text what a person fills in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.elements.mixins.validation_element import ValidationElement
from nicegui.elements.mixins.value_element import ValueElement

from assay.config.yaml_text import LONGEST, Problem
from assay.errors import UsageError, on_page
from assay.studio import widgets as w
from assay.studio.browser import lead_to
from assay.studio.dialogs import say_at
from assay.studio.shared.numbers import (
    NumberInput,
    in_units,
    outside,
    refuse_fraction,
    require_number,
    to_percent,
    to_share,
)

S = TypeVar("S")
"""What the text says: an agent, the settings of a project."""
V = TypeVar("V", bound=ValueElement[Any])
Put = Callable[[dict[str, Any]], Awaitable[None]]
"""Writes settings into the text."""
TYPING = "debounce=400"
MOST_NAMED = 3
"""So many inputs in error are named beside “Save”."""
NO_MODEL = "this cannot be empty. Choose a model or type its name."


@dataclass(frozen=True, slots=True)
class Control(Generic[S]):
    """One input of a form.

    Attributes:
        read: what it shows of what the text says.
        write: the settings that its value means, or None where it means none yet.
        path: of its setting, with dots; empty where it has several.
        percent: it shows a share in percent.
        told: says what is wrong with it, where it is an input that has no place for that.
        heading: of the inputs of its setting, where it has several.
    """

    made: ValueElement[Any]
    read: Callable[[S], Any]
    write: Callable[[Any], dict[str, Any] | None]
    path: str = ""
    percent: bool = False
    told: TextElement | None = None
    heading: str = ""

    @property
    def label(self) -> str:
        """What the input is called, as screen readers say it; of several inputs, all of them."""
        return self.heading or str(self.made.props["aria-label"])

    @property
    def can_tell(self) -> bool:
        """Whether what is wrong with it can be said at it."""
        return self.told is not None or isinstance(self.made, ValidationElement)

    def tell(self, message: str | None) -> None:
        """Say at the input what is wrong with it; None: nothing."""
        if self.told is not None:
            self.told.text = message or ""
        elif isinstance(self.made, ValidationElement):
            self.made.error = message


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form that has inputs of its own, for one setting and those within it.

    Attributes:
        label: its heading.
        told: says what is wrong with them.
    """

    path: str
    label: str
    told: TextElement
    can_tell = True

    def tell(self, message: str | None) -> None:
        """Say what is wrong with the inputs; None: nothing."""
        self.told.text = message or ""


class Controls(Generic[S]):
    """The inputs of a form.

    Args:
        put: writes settings into the text.
        open: whether anything can be changed.

    Attributes:
        on_refusal: called when an input begins or ends to hold what no setting can be.
    """

    def __init__(self, put: Put, *, open: bool) -> None:
        self._put, self._open = put, open
        self._parsed: S | None = None
        self._current = True
        self._every: list[Control[S] | Part] = []
        self._refused: list[Control[S]] = []
        self._telling: list[Control[S] | Part] = []  # a problem of the text
        self._last: Control[S] | Part | None = None  # that has written since the text was looked at
        self._brought: dict[Problem, Control[S] | Part | None] = {}
        self.on_refusal: Callable[[], None] = lambda: None

    @property
    def _controls(self) -> list[Control[S]]:
        return [one for one in self._every if isinstance(one, Control)]

    @property
    def is_refused(self) -> bool:
        """Whether an input holds what was not put into the text, since no setting can be that."""
        return bool(self._refused)

    def name_wrong(self) -> str:
        """The labels of the inputs and parts that tell something wrong, in the order in which they
        were made; the first `MOST_NAMED` and how many more there are. "" where there is none."""
        wrong = self._list_wrong()
        named = ", ".join(f"“{one.label}”" for one in wrong[:MOST_NAMED])
        more = len(wrong) - MOST_NAMED
        return f"{named} and {more} more" if more > 0 else named

    def _list_wrong(self) -> list[Control[S] | Part]:
        return [one for one in self._every if one in self._refused or one in self._telling]

    def lead_to_wrong(self) -> None:
        """Bring the first input or part that tells something wrong into view."""
        if wrong := self._list_wrong():
            lead_to(wrong[0].told if isinstance(wrong[0], Part) else wrong[0].made)

    def find(self, path: str) -> ValueElement[Any] | None:
        """The first input of a setting, by its path with dots; None: it has none."""
        return next((one.made for one in self._controls if one.path == path), None)

    def show(self, parsed: S) -> None:
        """Let every control show what the text says."""
        self._parsed = parsed
        self.forget_problems()
        for control in self._controls:
            self._set(control, parsed)

    def accept(self, parsed: S) -> None:
        """What the text says after a change of this form's own: no control is touched."""
        self._parsed = parsed

    def forget_problems(self) -> None:
        """Tell no more at the inputs what of theirs was wrong: the text says something else now."""
        self._untell()
        self._brought.clear()
        self._last = None

    def freeze(self, frozen: bool, problems: Sequence[Problem] = ()) -> list[Problem]:
        """Whether the text says nothing that a form could show at the moment.

        Args:
            problems: of the text; what was typed into the form is told there, and can be changed
                there.

        Returns:
            The problems that no input tells.
        """
        self._current = not frozen
        self._untell()
        found = {self._key(problem): problem for problem in problems}
        # What was not wrong before the last change came with it.
        self._brought = {key: self._brought.get(key, self._last) for key in found}
        self._last = None
        untold = [problem for key, problem in found.items() if not self._tell(key, problem)]
        self._freeze(frozen and bool(untold))
        return untold

    @staticmethod
    def _key(problem: Problem) -> Problem:
        return Problem(problem.message, problem.field)  # its line may move

    def _untell(self) -> None:
        self._telling.clear()
        for one in self._every:
            if one not in self._refused:
                one.tell(None)

    def _tell(self, key: Problem, problem: Problem) -> bool:
        """Tell a problem at its input, if the form has brought it; whether there is one. One that
        is of no input is told at the input that has brought it."""
        brought = self._brought[key]
        if brought is None:
            return False
        field = problem.field or ""
        own: list[Control[S] | Part] = [one for one in self._controls if one.path == field]
        parts = [one for one in self._every if isinstance(one, Part)]
        own += [one for one in parts if f"{field}.".startswith(f"{one.path}.")]
        own.append(brought)
        control = next((one for one in own if one.can_tell), None)
        if control is None:
            return False
        self._telling.append(control)
        if control not in self._refused:  # else it tells what is wrong with what stands in it now
            told = problem.message
            if isinstance(control, Control):
                told = in_units(told, control.made.value, percent=control.percent)
            control.tell(say_at(on_page(told)))
        return True

    def _freeze(self, frozen: bool) -> None:
        for control in self._controls:
            control.made.set_enabled(self._open and not frozen)  # type: ignore[attr-defined]

    def _control(
        self,
        made: V,
        read: Callable[[S], Any],
        write: Callable[[Any], dict[str, Any] | None],
        path: str = "",
        *,
        percent: bool = False,
        told: TextElement | None = None,
        heading: str = "",
    ) -> V:
        """Let an input show what `read` finds, and write the settings of `write` on a change.

        See `Control`.
        """
        made.set_enabled(self._open)  # type: ignore[attr-defined]
        control = Control(made, read, write, path, percent, told, heading)
        self._every.append(control)
        made.on_value_change(lambda: self._changed(control))
        return made

    def _part(self, path: str, label: str) -> Put:
        """What the inputs of a part of the form write with. What is wrong with them is said where
        this is called; see `Part`.
        """
        told = w.text("", "bad note").props("role=alert")
        part = Part(path, label, told)
        self._every.append(part)

        async def put(values: dict[str, Any]) -> None:
            self._last = part
            await self._put(values)

        return put

    def _number(
        self,
        label: str,
        path: str,
        hint: str = "",
        *,
        meaning: str = "",
        optional: bool = False,
        percent: bool = False,
        whole: bool = False,
        least: float | None = None,
    ) -> None:
        """A number under a label.

        Args:
            path: of the setting, with dots.
            optional: empty stands as null; else an empty input is refused at its field.
            percent: a share is shown in percent.
            whole: it has no fraction.
            least: in the unit of the field; a smaller number is refused there.
        """
        read, unit = read_path(path), " %" if percent else ""

        def show(parsed: S) -> Any:
            value = read(parsed)
            return to_percent(value) if percent and value is not None else value

        def write(value: float | None) -> dict[str, Any]:
            if value is None and optional:
                return {path: None}
            if whole and (refused := refuse_fraction(made.typed)):
                raise UsageError(refused)
            number = require_number(value, unit)
            if refused := outside(number, least, None, unit):
                raise UsageError(refused)
            number = to_share(number) if percent else number
            return {path: int(number) if number.is_integer() else number}

        made = NumberInput(unit=unit).props(TYPING)
        shown = f"{label} (%)" if percent else label
        field = w.field(shown, made, hint, meaning=meaning)
        self._control(field, show, write, path, percent=percent)

    async def _changed(self, control: Control[S]) -> None:
        if self._parsed is None:
            return
        if control in self._refused:
            self._refused.remove(control)
            control.tell(None)
            self.on_refusal()
        if self._current and control.made.value == control.read(self._parsed):
            return
        try:
            check_length(control.made.value)
            values = control.write(control.made.value)
        except UsageError as error:
            control.tell(say_at(str(error)))
            self._refused.append(control)
            self.on_refusal()
            return
        if values is not None:
            self._last = control
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


def check_length(value: Any) -> None:
    """Raises UsageError where a text is longer than any that is read."""
    if isinstance(value, str) and len(value) > LONGEST:
        raise UsageError(
            f"this has {len(value):,} characters; at most {LONGEST:,} are read. Shorten it."
        )


def require_text(value: str | None, missing: str) -> str:
    """What was typed, without spaces around it.

    Args:
        missing: said where there is nothing.
    """
    if not (typed := (value or "").strip()):
        raise UsageError(missing)
    return typed


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
