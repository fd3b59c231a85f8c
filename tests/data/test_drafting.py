"""Questions drafted from texts: what is asked, what is answered, what is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay import builtin
from assay.data.drafting import draft_questions


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("We hold seats without payment for 24 hours.", "for how long?", "24 hours"),
        ("A telephone booking carries a fee of $2.50.", "a fee of how much?", "$2.50"),
        ("The discount is worth 20% of the fare.", "worth what share of the fare?", "20%"),
        ("The last boat goes at 21:40 on weekdays.", "goes at what time on weekdays?", "21:40"),
        ("There are no boats on 25 December.", "no boats on what date?", "25 December"),
        ("A piece over 32 kg travels as freight.", "over how many kg travels", "32 kg"),
        ("There are four sockets at the stern.", "There are how many sockets at", "four sockets"),
        ("Enter “give credit” into the field.", "Enter what into the field?", "give credit"),
        ("It takes 1 hour 50 to get there.", "takes how long to get there?", "1 hour 50"),
        ("Ninety minutes are allowed; seats cost 7.50 extra now.", "seats cost how much", "7.50"),
    ],
)
def test_a_figure_becomes_a_question_for_it(text: str, question: str, answer: str) -> None:
    (found,) = draft_questions(text)
    assert question in found.question
    assert (found.answer, found.question[-1]) == (answer, "?")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Nothing here is counted or measured.",
        "The crew help to put up a tent in the evening.",
        "Does it cost 5.00 for everybody?",
        "Open to all who live on the six islands.",
        "Too short: 5 days.",
        "| a | table | with 24 hours | in its cells |",
        "```\nwait for 24 hours in some code\n```",
        f"A sentence {'that goes on ' * 12} for 24 hours.",
    ],
)
def test_what_states_no_news_is_left_alone(text: str) -> None:
    assert list(draft_questions(text)) == []


def test_a_question_says_what_it_is_about() -> None:
    text = "# Fares\n\nA card costs 15.00 a year.\n\n**Vouchers.** They are good for two years.\n"
    assert [found.question for found in draft_questions(text)] == [
        "Fares: A card costs how much a year?",
        "Vouchers: They are good for how long?",
    ]


def test_the_handbook_gives_enough_to_choose_from() -> None:
    files = sorted((builtin.folder() / "handbook").iterdir())
    found = [d for file in files for d in draft_questions(file.read_text(encoding="utf-8"))]
    assert len(found) >= 100
    assert all(draft.answer in draft.passage for draft in found)


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    for found in draft_questions(text):
        assert found.answer in found.passage
