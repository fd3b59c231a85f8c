"""Graders of function calls: on the calls that an answer makes, not on its text.

An answer is read as the server reads it (`chat/tool_text.py`). One that makes no call is *silent*:
that is the right answer where the target is text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from assay import json_reader
from assay.chat.tool_text import find_calls
from assay.data.calls import functions_of
from assay.evaluate.graders.registry import GraderSettings, GradingContext, Score, of_answer
from assay.evaluate.graders.values import same_value
from assay.example import CALL_OPEN, Example, ToolCall

UNREAD_CALL = Score(0.0, parsed=False, note="a call that cannot be read")


class Call(NamedTuple):
    """A call that an answer makes."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RightCall:
    """A call as it should be.

    Attributes:
        values: for each argument, every value that is right.
        optional: arguments that may be left out.
        defaults: by parameter, what holds where it is left out; stating it is right, too.
    """

    name: str
    values: dict[str, list[Any]]
    optional: frozenset[str]
    defaults: dict[str, Any]

    def holds(self, name: str, value: Any) -> bool:
        """Whether an argument may be given with this value."""
        if any(same_value(value, right) for right in self.values.get(name, ())):
            return True
        stated = name not in self.values and name in self.defaults
        return stated and same_value(value, self.defaults[name])

    def needed(self) -> list[str]:
        """The arguments that must be given."""
        return [name for name in self.values if not self._may_lack(name)]

    def _may_lack(self, name: str) -> bool:
        if name in self.optional:
            return True
        rights = self.values[name]
        return name in self.defaults and any(same_value(self.defaults[name], v) for v in rights)

    def is_made_by(self, call: Call) -> bool:
        """Whether a call is this one."""
        return (
            call.name == self.name
            and all(self.holds(name, value) for name, value in call.arguments.items())
            and all(name in call.arguments for name in self.needed())
        )


class CallSettings(GraderSettings):
    """Settings of the graders of calls: none of their own."""


def read_calls(answer: str, tools: Sequence[dict[str, Any]]) -> tuple[Call, ...] | None:
    """The calls that an answer makes; None where it begins one that cannot be read."""
    calls = find_calls(answer, tools)[1]
    if not calls and CALL_OPEN in answer:
        return None
    return tuple(Call(call.name, json_reader.read(call.arguments)) for call in calls)


def right_calls(example: Example) -> Iterator[tuple[RightCall, ...]]:
    """Every list of calls that is right: the target's, then those of the references."""
    functions = functions_of(example.tools)
    possible = example.possible or ({},) * len(example.target.tool_calls)
    yield tuple(
        _right(call, functions, entry)
        for call, entry in zip(example.target.tool_calls, possible, strict=True)
    )
    for reference in example.references:
        calls = find_calls(reference, example.tools)[1]
        if calls or CALL_OPEN not in reference:
            yield tuple(_right(call, functions, {}) for call in calls)


def _right(
    call: ToolCall, functions: dict[str, dict[str, Any]], entry: dict[str, Any]
) -> RightCall:
    parameters = functions.get(call.name, {}).get("parameters") or {}
    values = {name: [value] for name, value in json_reader.read(call.arguments or "{}").items()}
    # What only `possible` names need not be given: the target leaves it out.
    optional = {*entry.get("optional", ()), *(entry.get("values", {}).keys() - values.keys())}
    for name, more in entry.get("values", {}).items():
        values[name] = [*values.get(name, []), *more]
    return RightCall(
        call.name,
        values,
        frozenset(optional),
        {
            name: schema["default"]
            for name, schema in parameters.get("properties", {}).items()
            if isinstance(schema, dict) and "default" in schema
        },
    )


def _best(
    answer: str, example: Example, score: Callable[[tuple[Call, ...], tuple[RightCall, ...]], float]
) -> Score:
    calls = read_calls(answer, example.tools)
    if calls is None:
        return UNREAD_CALL
    return Score(max(score(calls, right) for right in right_calls(example)))


def _pair(worth: list[list[float]]) -> list[tuple[int, int]]:
    """Pairs of a call [row] and a right call [column] that are worth the most together."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(np.array(worth), maximize=True)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


@of_answer(
    "call-exact",
    "1 when the answer makes exactly the calls that it should, in any order; where no call is "
    "right, when it makes none.",
    settings=CallSettings,
    needs=("tools",),
)
def call_exact(
    answer: str, example: Example, settings: CallSettings, context: GradingContext
) -> Score:
    """1 when each call can be paired with one right call of its own."""
    return _best(answer, example, _exact)


def is_exact(answer: str, example: Example) -> bool:
    """Whether an answer makes exactly the right calls, as `call-exact` scores it."""
    return _best(answer, example, _exact).value == 1.0


def match_calls(answer: str, example: Example) -> list[int] | None:
    """For each call of an answer, the place of the target's call that it is; None where its calls
    are not exactly the target's."""
    calls, right = read_calls(answer, example.tools), next(right_calls(example))
    if calls is None or not _exact(calls, right):
        return None
    return [place for _, place in _pairs(calls, right)]


def makes_all(calls: Sequence[Call], right: Sequence[RightCall]) -> bool:
    """Whether each right call is one of these calls, another one for each."""
    made = sum(right[place].is_made_by(calls[number]) for number, place in _pairs(calls, right))
    return made == len(right)


def _pairs(calls: Sequence[Call], right: Sequence[RightCall]) -> list[tuple[int, int]]:
    """Each call beside a right call of its own, so that as many as can be are the same."""
    if not calls or not right:
        return []
    return _pair([[float(one.is_made_by(call)) for one in right] for call in calls])


def _exact(calls: tuple[Call, ...], right: tuple[RightCall, ...]) -> float:
    if len(calls) != len(right) or not calls:
        return float(len(calls) == len(right))
    return float(makes_all(calls, right))


@of_answer(
    "call-name",
    "1 when the answer calls the functions that it should, each as often, whatever the arguments.",
    settings=CallSettings,
    needs=("tools",),
)
def call_name(
    answer: str, example: Example, settings: CallSettings, context: GradingContext
) -> Score:
    """Equality of the names of all calls, in any order."""
    return _best(
        answer,
        example,
        lambda calls, right: float(
            Counter(c.name for c in calls) == Counter(r.name for r in right)
        ),
    )


@of_answer(
    "argument-f1",
    "F1 of the function names and arguments of all calls; only of examples in which a call is "
    "right.",
    settings=CallSettings,
    needs=("tools",),
    points="for right functions and arguments",
)
def argument_f1(
    answer: str, example: Example, settings: CallSettings, context: GradingContext
) -> Score:
    """2 · right parts / (parts given + parts needed); a part is a name or an argument.

    An optional argument that is given and right counts as given and as needed.
    """
    if not example.target.tool_calls:
        return Score(1.0, counted=False)
    return _best(answer, example, _f1)


def _f1(calls: tuple[Call, ...], right: tuple[RightCall, ...]) -> float:
    if not calls or not right:
        return float(not calls and not right)
    held = [[_held(call, one) for one in right] for call in calls]
    pairs = _pair([[float(len(parts)) for parts in row] for row in held])
    shared = sum(len(held[row][column]) for row, column in pairs)
    given = sum(1 + len(call.arguments) for call in calls)
    needed = sum(1 + len(one.needed()) for one in right)
    optional = sum(
        len(set(held[row][column][1:]) - set(right[column].needed())) for row, column in pairs
    )
    return 2 * shared / (given + needed + optional)


def _held(call: Call, right: RightCall) -> list[str]:
    """The parts of a call that are right: its function's name, then names of arguments."""
    if call.name != right.name:
        return []
    return [
        call.name,
        *(name for name, value in call.arguments.items() if right.holds(name, value)),
    ]


@of_answer(
    "no-call",
    "1 when the answer makes a call where one is right, and none where none is, whichever call.",
    settings=CallSettings,
    needs=("tools",),
)
def no_call(
    answer: str, example: Example, settings: CallSettings, context: GradingContext
) -> Score:
    """Whether the decision to call is right."""
    return _best(answer, example, lambda calls, right: float(bool(calls) == bool(right)))
