"""Rows that were cut out of one dialogue stay together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from assay.data.dialogues import group_dialogues, name_dialogues
from assay.data.read import read
from assay.example import Example, Message, ToolCall
from assay.project.start.init import Choices, draft

SYSTEM = Message("system", "You help.")


def user(text: str) -> Message:
    return Message("user", text)


def said(text: str) -> Message:
    return Message("assistant", text)


def called(city: str, id: str = "a") -> Message:
    return Message("assistant", "", (ToolCall(id, "find", f'{{"city": "{city}"}}'),))


def row(*messages: Message, group: str | None = None) -> Example:
    return Example("r", messages, group=group)


ASKED = user("Find me a place to eat in Bern.")
RESULT = Message("tool", "[]", tool_call_id="a")


def joined(*rows: Example) -> bool:
    names = name_dialogues(rows)
    return names[0] is not None and len(set(names)) == 1


@pytest.mark.parametrize(
    ("rows", "together"),
    [
        # A row's call stands in the next row's conversation.
        ((row(ASKED, called("Bern")), row(ASKED, called("Bern"), RESULT, said("None."))), True),
        # Under another system prompt, with other ids and in another spelling of the arguments.
        ((row(SYSTEM, ASKED, called("Bern")), row(ASKED, called("Bern", "z"))), True),
        # Two questions and the answer between them.
        (
            (
                row(ASKED, said("What?"), user("Thai."), said("Here.")),
                row(ASKED, said("What?"), user("Thai."), said("Here."), user("x"), said("y")),
            ),
            True,
        ),
        # Nothing but a system prompt.
        (
            (
                row(SYSTEM, ASKED, called("Bern")),
                row(SYSTEM, user("A taxi to Bern please"), called("B")),
            ),
            False,
        ),
        # Nothing but a first question.
        (
            (
                row(ASKED, said("What?"), user("Thai."), said("Here.")),
                row(ASKED, said("When?"), user("Now."), said("Here.")),
            ),
            False,
        ),
        # A greeting, its answer, and what many say then.
        (
            (
                row(
                    user("Hi"),
                    said("Hello!"),
                    user("Help"),
                    said("Whom?"),
                    user("Anna Bell"),
                    said("y"),
                ),
                row(
                    user("Hi"),
                    said("Hello!"),
                    user("Help"),
                    said("Whom?"),
                    user("Ben Carr"),
                    said("y"),
                ),
            ),
            False,
        ),
    ],
)
def test_what_is_a_dialogue(rows: tuple[Example, ...], together: bool) -> None:
    assert joined(*rows) is together


def test_a_short_row_belongs_to_the_dialogue_that_goes_on_from_it_if_there_is_one() -> None:
    short = row(ASKED, said("What?"))
    thai = row(ASKED, said("What?"), user("Thai."), called("Bern"))
    lunch = row(ASKED, said("What?"), user("Lunch."), called("Bern"))
    assert joined(short, thai)
    assert name_dialogues([short, thai, lunch])[0] is None


def test_names_of_groups_are_kept_and_those_of_one_dialogue_become_one() -> None:
    first, second = row(ASKED, called("Bern"), group="b"), row(ASKED, called("Bern"), group="a")
    plain, other = row(ASKED, called("Bern")), row(user("Call me a taxi now"), called("Oslo"))
    [train, holdout] = group_dialogues([first, plain, other], [second])
    assert [example.group for example in train] == ["a", "a", None]
    assert [example.group for example in holdout] == ["a"]
    named = replace(other, group="x")
    assert group_dialogues([named])[0] == [named]


def test_the_dialogues_of_a_real_file_are_found_without_their_names(data_folder: Path) -> None:
    file = data_folder / "sgd_restaurants" / "calls.jsonl"
    rows = [found.example for found in read(file, "openai-chat", None) if found.example]
    by_name, by_begin = defaultdict(set), defaultdict(set)
    for number, (example, name) in enumerate(zip(rows, name_dialogues(rows), strict=True)):
        by_name[example.group].add(number)
        by_begin[name].add(number)
    assert len(by_name) == 367
    assert sorted(map(sorted, by_name.values())) == sorted(map(sorted, by_begin.values()))
    proposed = draft("tables", Choices(data=file))
    assert proposed.proposal.task == "tools"
    assert (len(proposed.examples), proposed.rejected) == (1085, 0)
    calling = "718 of 1085 answers call a function"
    assert any(calling in reason for reason in proposed.proposal.reasons)
