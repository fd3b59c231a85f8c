"""Answers of an outside model: each row found once, every fault told with its line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.generate.tiny import ask

from assay.errors import DataError, UsageError
from assay.example import Example
from assay.generate.batch import Answer, AnswerToken
from assay.generate.recorded import RecordedAnswer, input_sha256, read_recording
from assay.generate.replay import ReplayEngine, conversation_key, read_predictions

IDS = ["a", "b", "2"]


def written(folder: Path, *rows: object) -> Path:
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def test_ids_and_row_numbers_find_their_rows(tmp_path: Path) -> None:
    rows = [{"id": "b", "output": "B"}, {"id": 3, "output": ""}, {"id": 1, "output": {"k": "é"}}]
    assert read_predictions(written(tmp_path, *rows), IDS) == ['{"k": "é"}', "B", ""]


def test_an_id_that_looks_like_a_number_is_an_id(tmp_path: Path) -> None:
    rows = [{"id": i, "output": i} for i in IDS]
    assert read_predictions(written(tmp_path, *rows), IDS) == IDS


def test_marks_blank_lines_and_windows_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1, "output": "x\xe2\x80\xa8y"}\r\n\r\n')
    assert read_predictions(path, ["only"]) == ["x\u2028y"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"id": "a", "output": ""}], "2 of the 3 rows have no answer: b, 2"),
        ([{"id": i, "output": ""} for i in ("a", "b", "2", "zz", 9)], "zz (line 4), 9 (line 5)"),
        ([{"id": i, "output": ""} for i in ("a", "b", "2", 1)], "1 (lines 1 and 4)"),
        ([{"id": 0, "output": ""}], "0 (line 1)"),
        ([{"id": True, "output": ""}], "line 1: `id` is neither"),
        ([{"id": "a"}], "line 1: the field `output` is missing"),
        ([{"output": "a"}], "line 1: the field `id` is missing"),
        ([["a", "b"]], "line 1: the record is a list"),
        (
            [{"id": "a", "output": ""}, {"id": "b", "output": "x\ud83d"}],
            "line 2: the text contains half of a character",
        ),
    ],
)
def test_faults_are_told_with_what_and_where(tmp_path: Path, rows: list[object], told: str) -> None:
    with pytest.raises(DataError) as caught:
        read_predictions(written(tmp_path, *rows), IDS)
    assert told in str(caught.value)
    assert "answers.jsonl" in str(caught.value)


def test_a_recording_goes_by_what_was_asked(tmp_path: Path) -> None:
    rows = [Example.of(text, "right", id=f"row-{i}") for i, text in enumerate("aba", start=1)]
    inputs = [input_sha256(row) for row in rows]
    told = Answer("A", tokens=(AnswerToken("41", -0.5, (("41", -0.5),)),), logprob=-0.5)
    lines = [
        RecordedAnswer("x-7", "data", inputs[0], "r", "ft:m", "https://x/v1", told, 1.0, usd=0.1),
        RecordedAnswer("row-2", "train", "of another row", "r", "ft:m", "https://x/v1", told, 2.0),
    ]
    path = tmp_path / "recorded.jsonl"
    path.write_text("".join(json.dumps(one.to_dict()) + "\n" for one in lines))
    ids = [row.id for row in rows]
    with pytest.raises(DataError, match="1 of the 3 rows has no answer: row-2") as missing:
        read_predictions(path, ids, inputs)
    assert "assay rescue record" in str(missing.value.fix)
    with path.open("a") as file:
        file.write(json.dumps({"id": "row-2", "output": "B"}) + "\n")
    assert read_predictions(path, ids, inputs) == ["A", "B", "A"]
    path.write_text("".join(json.dumps(one.to_dict()) + "\n" for one in lines))
    assert read_recording(path, tokens_of=set(inputs))[inputs[0]] == lines[0]
    assert read_recording(path)[inputs[0]].answer == replace(told, tokens=None)
    path.write_text('{"id": "a", "output": "b"}\n')
    with pytest.raises(DataError, match="not a line of recorded answers"):
        read_recording(path)


def test_only_the_first_five_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1, 2, 3, 4, 5 and 4 more"):
        read_predictions(written(tmp_path), [str(i) for i in range(1, 10)])


def test_files_that_are_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_predictions(tmp_path / "missing.jsonl", IDS)
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "a", "output": "x"}\nnonsense\n')
    with pytest.raises(DataError, match=r"line 2: the record is not JSON"):
        read_predictions(broken, IDS)
    broken.write_bytes("größe".encode("utf-16"))
    with pytest.raises(DataError, match="NUL byte"):
        read_predictions(broken, IDS)


def test_a_conversation_gets_the_output_that_was_recorded_for_it() -> None:
    requests = [ask("a"), ask("b", system="s"), ask("a", max_new_tokens=3)]
    engine = ReplayEngine.of("outside", requests, ["A", "B", "A"])
    assert [a.text for a in engine.answer(requests[::-1])] == ["A", "B", "A"]
    (unknown,) = engine.answer([ask("b")])
    assert unknown.finish == "error"
    assert "outside" in (unknown.error or "")
    assert engine.identity != ReplayEngine("outside", {conversation_key(requests[0]): "C"}).identity
    with pytest.raises(UsageError, match="two different"):
        ReplayEngine.of("outside", requests, ["A", "B", "C"])
