"""Where a dialogue departs from the recorded one, and what is wrong there. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from assay.evaluate.graders.calls import is_exact, read_calls
from assay.example import Example
from assay.generate.batch import Answer

How = Literal["missed", "function", "arguments", "needless", "unread", "refused"]
"""In which way a turn is wrong: no call where one is due, another function, other arguments, a call
where none is due, a call that cannot be read, a request that the model does not take."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a dialogue departs: the number of the assistant's turn, from 1, and what is wrong."""

    turn: int
    how: How


def find_fault(answer: Answer, row: Example) -> How | None:
    """What is wrong with an answer as the next turn of a dialogue; None: it is right. Where no call
    is due, any words are right.

    Args:
        row: whose target is the recorded turn.
    """
    if answer.finish == "refused":
        return "refused"
    calls = read_calls(answer.text, row.tools)
    if calls is None:
        return "unread"
    if is_exact(answer.text, row):
        return None
    if not calls:
        return "missed"
    if not row.target.tool_calls:
        return "needless"
    due = Counter(call.name for call in row.target.tool_calls)
    return "arguments" if Counter(call.name for call in calls) == due else "function"
