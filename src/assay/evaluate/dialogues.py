"""Whole dialogues: put together from their rows, and gone on with by whoever answers. Pure.

A row is a conversation up to one turn of the assistant, so that the longest row of a dialogue has
all turns of the others in it, what the user said next and what the functions returned among them.
`roll_out` lets an agent give every turn of the assistant itself: its own answers become the
conversation, the user says what was recorded, and a call that is the recorded one gets the recorded
result. The first turn that is not right is where the dialogue *departs* from the recorded one: it
ends there, unless there are tools that answer from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from assay.chat.tool_text import find_calls
from assay.data.dialogues import content_of
from assay.evaluate.departures import Departure, find_fault
from assay.evaluate.graders.calls import (
    Call,
    makes_all,
    match_calls,
    read_calls,
    right_calls,
)
from assay.example import Example, Message, ToolCall, canonical_json
from assay.generate.batch import Answer
from assay.progress import SILENT, Progress

MOST_CALL_TURNS = 8
"""Turns with calls that tools answer before an agent speaks to the user again; a dialogue with more
ends."""
SYSTEM = ("system", "developer")
Ask = Callable[[list[Example]], list[Answer]]
"""Answers to the inputs of examples, in their order."""
UseTools = Callable[[Sequence[Call]], list[str]]
"""The result of each call of a dialogue, in the order in which they were made."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A recorded dialogue.

    Attributes:
        messages: all turns, an assistant's last.
        turns: for the place of each turn of the assistant, what an answer there is held against.
        group: number of the group of its rows; dialogues that share one are not independent.
    """

    messages: tuple[Message, ...]
    turns: Mapping[int, Example]
    group: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an agent went on with a dialogue.

    Attributes:
        right: turns of the assistant before the departure, or all.
        turns: as many as the recorded dialogue has.
        departure: None where every turn was right.
        all_made: every recorded call was made in the end, whatever else was called.
        answers: that were given.
    """

    right: int
    turns: int
    departure: Departure | None
    all_made: bool
    answers: tuple[Answer, ...]


def dialogues_of(examples: Sequence[Example]) -> list[Dialogue]:
    """The dialogues that rows were cut out of, in the order of their first rows.

    Rows are of one dialogue when they are in one group and the turns of the shorter one begin the
    longer one; ids of calls do not count, nor does what the system says, which may be a clock. A
    row without a group is a dialogue by itself, and so is one whose turns no other row of its group
    goes on from.
    """
    groups: dict[str | int, list[Example]] = {}
    for number, row in enumerate(examples):
        groups.setdefault(number if row.group is None else row.group, []).append(row)
    return [
        _dialogue(rows, number)
        for number, group in enumerate(groups.values())
        for rows in _cut_from_one(group)
    ]


def _cut_from_one(rows: Sequence[Example]) -> list[list[Example]]:
    """The rows of each dialogue, the longest first; a row that several go on from is in each, or in
    those that begin with its own system prompt."""
    found: list[tuple[list[str], list[Example]]] = []
    for row in sorted(rows, key=lambda one: -_turns(one.messages)):
        said = [
            canonical_json(content_of(message))
            for message in row.messages
            if message.role not in SYSTEM
        ]
        longer = [members for turns, members in found if turns[: len(said)] == said]
        same = [
            members for members in longer if _opening(members[0].messages) == _opening(row.messages)
        ]
        if not same:  # of two that say the same, the system prompt tells one from the other
            longer = [members for members in longer if _turns(members[0].messages) > len(said)]
        for members in same or longer:
            members.append(row)
        if not (same or longer):
            found.append((said, [row]))
    return [members for _, members in found]


def _turns(messages: Sequence[Message]) -> int:
    """How many there are without what the system says."""
    return sum(message.role not in SYSTEM for message in messages)


def _opening(messages: Sequence[Message]) -> tuple[Message, ...]:
    """What the system says before anybody else does."""
    return tuple(takewhile(lambda message: message.role in SYSTEM, messages))


def _dialogue(rows: Sequence[Example], group: int) -> Dialogue:
    """The dialogue of some rows, of which the first is the longest."""
    messages = rows[0].messages
    roles = [message.role for message in messages]
    # What the assistant says before the user does is said to everybody.
    first = roles.index("user") if "user" in roles else len(roles) - 1
    begin = len(_opening(rows[0].messages))
    turns = {}
    for place, role in enumerate(roles):
        if role == "assistant" and place >= first:
            number = _turns(messages[: place + 1])
            row = [one for one in rows if _turns(one.messages) >= number][-1]
            if _turns(row.messages) > number:  # nothing but its turns is known of this one
                said = (*_opening(row.messages), *messages[begin : place + 1])
                row = replace(row, messages=said, references=(), possible=())
            elif number < _turns(messages):
                # What is right as well has no recorded way to go on from it.
                row = replace(row, references=())
            turns[place] = row
    return Dialogue(messages, turns, group)


def roll_out(
    dialogues: Sequence[Dialogue],
    ask: Ask,
    tools: UseTools | None = None,
    progress: Progress = SILENT,
) -> list[Outcome]:
    """Let an agent go on with dialogues from the first turn of the assistant, all at once.

    Args:
        ask: the agent; what it raises ends everything.
        tools: answer every call of a dialogue once it has departed; None: it ends there.
    """
    walks = [_Walk(dialogue) for dialogue in dialogues]
    turns = sum(len(one.turns) for one in dialogues)
    with progress.task("whole dialogues", turns, "turns") as bar:
        while going := [walk for walk in walks if not walk.is_over]:
            answers = ask([walk.example for walk in going])
            for walk, answer in zip(going, answers, strict=True):
                left = walk.left
                walk.take(answer, goes_on=tools is not None)
                if walk.unanswered and tools is not None:
                    walk.give(tools(walk.made))
                bar.advance(left - walk.left)
    return [walk.outcome for walk in walks]


@dataclass(slots=True)
class _Walk:
    """A dialogue while an agent goes on with it.

    Attributes:
        said: the conversation so far.
        place: of the recorded turn that comes next, an assistant's.
        made: calls of the agent, in order; unanswered: those that tools have to answer.
        ids: by the id of a recorded call, that of the agent's own.
        in_a_row: turns with calls since the agent last spoke to the user, after the departure.
    """

    dialogue: Dialogue
    said: list[Message] = field(default_factory=list)
    place: int = 0
    right: int = 0
    departure: Departure | None = None
    is_over: bool = False
    made: list[Call] = field(default_factory=list)
    unanswered: tuple[ToolCall, ...] = ()
    ids: dict[str, str] = field(default_factory=dict)
    in_a_row: int = 0
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._follow()

    @property
    def row(self) -> Example:
        """What the next answer is held against."""
        return self.dialogue.turns[self.place]

    @property
    def example(self) -> Example:
        """The conversation so far as an example whose target nobody knows, below the system prompt
        that the turn was recorded with."""
        row = self.row
        said = self.said[len(_opening(self.dialogue.messages)) :]
        turns = (*_opening(row.messages), *said, Message("assistant", ""))
        return Example(row.id, turns, row.tools, group=row.group)

    @property
    def left(self) -> int:
        """Recorded turns of the assistant that are still to come."""
        return 0 if self.is_over else sum(place >= self.place for place in self.dialogue.turns)

    @property
    def outcome(self) -> Outcome:
        """Of a dialogue that is over."""
        needed = [call for row in self.dialogue.turns.values() for call in next(right_calls(row))]
        return Outcome(
            right=self.right,
            turns=len(self.dialogue.turns),
            departure=self.departure,
            all_made=self.departure is None or makes_all(self.made, needed),
            answers=tuple(self.answers),
        )

    def take(self, answer: Answer, *, goes_on: bool) -> None:
        """Add the agent's answer, and the recorded turns that follow on it.

        Args:
            goes_on: past a departure.
        """
        row = self.row
        self.answers.append(answer)
        turn = self._turn_of(answer.text)
        self.said.append(turn)
        self.made += read_calls(answer.text, row.tools) or ()
        if self.departure is None:
            how = find_fault(answer, row)
            if how is None:
                self.right += 1
                due = match_calls(answer.text, row) or ()  # none: right by a reference
                for own, place in zip(turn.tool_calls, due, strict=False):
                    self.ids[row.target.tool_calls[place].id] = own.id
                self.place += 1
                self._follow()
                return
            self.departure = Departure(self.right + 1, how)
        if not goes_on or answer.finish == "refused":
            self.is_over = True
        elif turn.tool_calls:
            self.in_a_row += 1
            self.is_over = self.in_a_row > MOST_CALL_TURNS
            self.unanswered = () if self.is_over else turn.tool_calls
        else:
            self._hand_over()

    def give(self, results: Sequence[str]) -> None:
        """Add what tools say to the calls that are unanswered.

        Args:
            results: of all calls of the dialogue.
        """
        calls, self.unanswered = self.unanswered, ()
        for call, result in zip(calls, results[-len(calls) :], strict=True):
            self.said.append(Message("tool", result, tool_call_id=call.id))

    def _turn_of(self, text: str) -> Message:
        """The answer as a turn; its calls are numbered through the dialogue, so that the same
        answers make the same conversation."""
        said, calls = find_calls(text, self.row.tools)
        if not calls:
            return Message("assistant", text)
        numbers = range(len(self.made), len(self.made) + len(calls))
        numbered = [
            replace(call, id=f"call{number:05}")
            for call, number in zip(calls, numbers, strict=True)
        ]
        return Message("assistant", said, tuple(numbered))

    def _hand_over(self) -> None:
        """The agent has spoken: the user says what was recorded next."""
        self.in_a_row = 0
        messages = self.dialogue.messages
        while self.place < len(messages) and messages[self.place].role != "user":
            self.place += 1
        self._follow()

    def _follow(self) -> None:
        """Add recorded turns as far as the next that is the agent's."""
        messages = self.dialogue.messages
        while self.place < len(messages) and self.place not in self.dialogue.turns:
            turn = messages[self.place]
            if turn.tool_call_id is not None:
                known = self.ids.get(turn.tool_call_id, turn.tool_call_id)
                turn = replace(turn, tool_call_id=known)
            self.said.append(turn)
            self.place += 1
        self.is_over = self.place == len(messages)
