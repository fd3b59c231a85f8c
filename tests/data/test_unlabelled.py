"""Inputs without labels are read as the project's rows are; twins of known rows do not count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.config import Columns
from assay.data.unlabelled import choose_inputs, conversation, read_inputs
from assay.errors import DataError
from assay.example import Example, Message

COLUMNS = Columns(input=["title", "body"], output=["label"])


def test_a_table_needs_no_output_and_reads_none(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("body,title,label\nwhere?,card,secret\n")
    [found] = read_inputs(tmp_path / "more.csv", COLUMNS)
    assert found.input == "title: card\nbody: where?"
    assert found.output == ""
    (tmp_path / "bare.csv").write_text("title,body\ncard,where?\n")
    assert next(read_inputs(tmp_path / "bare.csv", COLUMNS)).input == found.input


def test_a_conversation_ends_before_the_answer(tmp_path: Path) -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "given")]
    messages = [{"role": role, "content": text} for role, text in turns]
    (tmp_path / "more.jsonl").write_text(json.dumps({"messages": messages}))
    [found] = read_inputs(tmp_path / "more.jsonl", None)
    assert [message.content for message in found.messages] == ["a", "b", "c", ""]
    assert conversation([Message("system", "s"), Message("assistant", "b")], "x") is None


@pytest.mark.parametrize("record", [{"other": "x"}, {"title": "", "body": ""}, {"messages": []}])
def test_a_record_without_input_is_named(tmp_path: Path, record: dict[str, object]) -> None:
    good = {"title": "card", "body": "where?"}
    columns = COLUMNS.model_copy(update={"input": ["body"]})
    (tmp_path / "more.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(record)}")
    with pytest.raises(DataError) as caught:
        list(read_inputs(tmp_path / "more.jsonl", columns))
    assert "line 2" in str(caught.value.where)


def test_twins_of_known_rows_are_left_out_and_alike_ones_form_a_group() -> None:
    def row(number: int, text: str) -> Example:
        return Example.of(text, "", id=f"input-{number}")

    known = [row(0, "Where is the card that I ordered last week?")]
    inputs = [
        row(1, "where is the card that I ordered last week"),
        row(2, "My new phone does not ring when my sister calls me in the morning"),
        row(3, "My new phone does not ring when my sister calls me in the mornings"),
        row(4, "How do I close my account?"),
    ]
    found = choose_inputs(inputs, known, 100)
    assert found.twins == 1
    groups = {example.id: example.group for example in found.examples}
    assert groups.keys() == {"input-2", "input-3", "input-4"}
    assert groups["input-2"] == groups["input-3"] is not None
    assert groups["input-4"] is None
    assert choose_inputs(reversed(inputs), known, 2) == choose_inputs(inputs, known, 2)
