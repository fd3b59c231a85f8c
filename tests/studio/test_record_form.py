"""What was filled in for a row is read again, or said to be wrong at its field."""

from __future__ import annotations

import pytest

from assay.studio.pages.data.record_form import InvalidFieldError, find_place, parse_record


def test_fields_are_read_as_what_they_were() -> None:
    filled = {"text": "{not JSON", "tags": "[1, 2]"}
    assert parse_record({"text": "a", "tags": [1]}, filled) == {"text": "{not JSON", "tags": [1, 2]}
    assert parse_record("broken", {"The whole line": '{"a": 1}'}) == {"a": 1}
    broken = {"text": "Gr\udcfc\udcdfe", "label": "x"}  # shown as text of ASCII, and not changed
    filled = {"text": r"Gr\udcfc\udcdfe", "label": "y"}
    assert parse_record(broken, filled) == {"text": "Gr\udcfc\udcdfe", "label": "y"}


@pytest.mark.parametrize(
    ("record", "filled", "field", "said"),
    [
        ("{", {"The whole line": '{"a": 1'}, "The whole line", "a comma or a closing bracket"),
        ("{", {"The whole line": "[1]"}, "The whole line", "must be one JSON object"),
        ({"a": [1], "b": "x"}, {"a": "[1\n", "b": "x"}, "a", r"too early \(a .*line 1, column 3"),
    ],
)
def test_what_is_no_json_is_told_at_its_field(
    record: object, filled: dict[str, str], field: str, said: str
) -> None:
    with pytest.raises(InvalidFieldError, match=said) as found:
        parse_record(record, filled)
    assert found.value.field == field


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("body", "body"),
        ("subject, body", "subject"),
        ('"order, text", body', "order, text"),
        ("order, text", "order, text"),
        ("messages", "team"),
        (None, "team"),
    ],
)
def test_a_problem_of_several_columns_is_told_at_the_first(field: str | None, place: str) -> None:
    assert find_place(["order, text", "subject", "body", "team"], field) == place
