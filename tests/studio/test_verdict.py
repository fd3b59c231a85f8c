"""The verdict's card, without a browser."""

from __future__ import annotations

from nicegui import Client
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page

from assay.compare.naming import in_words
from assay.example import Message
from assay.studio.pages.compare.answers import _show_answer, mark_differences
from assay.studio.pages.compare.dialogues import dialogues_card
from assay.studio.shared.verdict import candidates_table, fields_table, verdict_card
from tests.compare.sample import sample_result


def test_what_is_typed_is_code_in_every_sentence() -> None:
    result = sample_result()
    first = result.candidates[0].model_copy(update={"warnings": ["See `route`."]})
    result = result.model_copy(
        update={"candidates": [first, *result.candidates[1:]], "warnings": ["See `few_shot`."]}
    )
    with Client(page("/verdict")) as client:
        verdict_card(in_words(result))
        candidates_table(in_words(result))
    shown = [one for one in client.elements.values() if isinstance(one, TextElement)]
    code = [one.text for one in shown if one.tag == "code"]
    assert {"route", "few_shot"} <= set(code)
    assert not [one.text for one in shown if "`" in one.text]


def test_candidates_stand_in_groups_by_what_they_need_the_named_first_then_the_cheapest() -> None:
    result = sample_result()
    free = [one.model_copy(update={"yearly_cost": 0.0}) if one.floor else one
            for one in result.candidates]  # fmt: skip
    headings = []
    for one in (result, result.model_copy(update={"candidates": free})):
        with Client(page("/candidates")) as client:
            candidates_table(in_words(one))
        shown = [one for one in client.elements.values() if isinstance(one, TextElement)]
        groups = [one for one in shown if one.tag == "th" and one.props.get("scope") == "rowgroup"]
        headings.append([one.text for one in groups])
        columns = sum(one.props.get("scope") == "col" for one in shown)
        assert {int(one.props["colspan"]) for one in groups} == {columns}
        # A heading is of the rows that it stands above, up to the next one.
        rows = [one for one in client.elements.values() if one.tag == "tr"]
        bodies = [one for one in client.elements.values() if one.tag == "tbody"]
        assert len(bodies) == len(groups)
        assert len(rows) == 1 + len(groups) + len(result.candidates)
    first, nothing, seconds = headings[0]
    assert first == "Trained in minutes to hours"
    assert (nothing, seconds) == ("Nothing to train", "Trained in seconds")
    assert headings[1] == [first, seconds, nothing]


def test_what_points_count_is_told_below_and_takes_no_room_of_the_other_columns() -> None:
    with Client(page("/points")) as client:
        candidates_table(in_words(sample_result().model_copy(update={"primary": "rouge-l"})))
    shown = [one for one in client.elements.values() if isinstance(one, TextElement)]
    heads = [one.text for one in shown if one.props.get("scope") == "col"]
    assert heads[1] == "Points of 100"
    below = "Points of 100: for likeness to the expected answer (rouge-l). "
    assert any(one.text.startswith(below) for one in shown)


def test_of_records_it_is_shown_which_fields_go_wrong() -> None:
    result = sample_result()
    first = result.candidates[0].model_copy(update={"per_class": {"part": 1.0, "count": 0.167}})
    data = result.data.model_copy(update={"task": "json"})
    records = result.model_copy(update={"candidates": [first], "data": data})
    shown = []
    for one in (result, records):
        with Client(page("/fields")) as client:
            fields_table(in_words(one))
        texts = (e for e in client.elements.values() if isinstance(e, TextElement))
        shown.append([e.text for e in texts if e.tag == "td"])
    assert shown == [[], ["part", "100.0", "count", "16.7"]]


def test_whole_dialogues_have_a_line_for_each_candidate() -> None:
    with Client(page("/dialogues")) as client:
        dialogues_card(in_words(sample_result()))
    shown = [one for one in client.elements.values() if isinstance(one, TextElement)]
    cells = [one.text for one in shown if one.tag == "td"]
    where = ["2 (9), 5 (4), 4 (3), others (2)"]
    where += ["other arguments (12), no call where one is due (6)"]
    assert cells[1:] == ["55.0 (39.1 – 70.2)", "71.3 (58.4 – 82.9)", "62.5 (46.2 – 77.1)", *where]
    assert any("answers are missing" in one.text for one in shown)


def test_other_words_of_a_right_answer_are_not_marked_as_wrong() -> None:
    said, fact = "It is kept at 4 degrees.", "at 4 degrees"
    assert mark_differences(said, fact, 1.0) == [(said, False)]
    assert ("It is kept ", True) in mark_differences(said, fact, 0.5)


def test_an_empty_answer_is_shown_as_one() -> None:
    expected, empty = Message("assistant", "vans"), Message("assistant", " ")
    shown = []
    for answer, score in ((expected, None), (empty, 0.0), (expected, 1.0)):
        with Client(page("/")) as client:
            _show_answer("Most similar answer", answer, expected, score)
        texts = [one.text for one in client.elements.values() if isinstance(one, TextElement)]
        shown.append("(empty answer)" in texts)
    assert shown == [False, True, False]
