"""Logs of Inspect and lm-eval answer the rows that they were asked, whatever stood before them.

Those in `tests/compat/logs/written` were written by the programs themselves."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from assay.errors import DataError
from assay.example import Example, Message
from assay.generate.outside_logs import read_log
from assay.generate.recorded import input_sha256
from assay.generate.replay import read_predictions
from assay.progress import Silent

ROWS = [Example.of(f"question {n}", "a", id=f"row-{n}") for n in range(3)]
IDS = [row.id for row in ROWS]
INPUTS = [input_sha256(row) for row in ROWS]


def message(text: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


SYSTEM = {"role": "system", "content": "Be short."}
SAMPLES: list[dict[str, Any]] = [
    {"id": 1, "epoch": 2, "input": "question 0", "output": message("second")},
    {"id": 1, "epoch": 1, "input": "question 0", "output": message("zero")},
    {
        "id": 2,
        "epoch": 1,
        "input": [SYSTEM, {"role": "user", "content": "attachment://abc"}],
        "attachments": {"abc": "question 1"},
        "output": message(
            [
                {"type": "reasoning", "reasoning": "hm"},
                {"type": "text"},
                {"type": "text", "text": "one"},
            ]
        ),
    },
    {"id": "row-2", "epoch": 1, "input": "asked otherwise", "output": message("two")},
    {"id": 9, "epoch": 1, "input": "another", "output": None, "error": {"message": "x"}},
]


def archive(folder: Path, samples: list[dict[str, Any]]) -> Path:
    path = folder / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", "{}")
        for one in samples:
            name = f"samples/{one['id']}_epoch_{one['epoch']}.json"
            file.writestr(name, json.dumps(one))
    return path


def whole(folder: Path, samples: list[dict[str, Any]]) -> Path:
    path = folder / "log.json"
    path.write_text(json.dumps({"version": 2, "eval": {}, "samples": samples}))
    return path


@pytest.mark.parametrize("write", [archive, whole])
def test_inspect_answers_its_rows(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append)
    found = read_predictions(write(tmp_path, SAMPLES), IDS, INPUTS, progress)
    assert found == ["zero", "one", "two"]
    assert "1 by all that was asked, 1 by what was asked without" in said[0]
    assert "1 by the id" in said[0]
    with pytest.raises(DataError, match="1 of the 3 rows has no answer in this log of 3"):
        read_predictions(write(tmp_path, [*SAMPLES[:3], SAMPLES[4]]), IDS, INPUTS)


def test_lm_eval_answers_its_rows(tmp_path: Path) -> None:
    chat = json.dumps([SYSTEM, {"role": "user", "content": "question 2"}])
    lines = [
        {
            "doc_id": 0,
            "doc": {"question": "question 0"},
            "arguments": {"gen_args_0": {"arg_0": "Q: ?\nQ: question 0", "arg_1": {"until": []}}},
            "resps": [["zero", "again"]],
            "filtered_resps": ["0"],
        },
        {
            "doc_id": 1,
            "doc": {"question": "question 1", "id": "x"},
            "arguments": [["question 1", " no"], ["question 1", " one"]],
            "resps": [[[-4.5, False]], [["-1.5", "True"]]],
        },
        {
            "doc_id": 2,
            "doc": {},
            "arguments": {"gen_args_0": {"arg_0": chat, "arg_1": {}}},
            "resps": [["two"]],
        },
    ]
    path = tmp_path / "samples_x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_predictions(path, IDS, INPUTS) == ["zero", "one", "two"]
    path.write_text(json.dumps(lines[0]) + "\n" + json.dumps({**lines[1], "resps": [3]}) + "\n")
    with pytest.raises(DataError, match="under `resps` cannot be read") as caught:
        read_predictions(path, IDS, INPUTS)
    assert "line 2" in str(caught.value)


def test_a_row_of_several_turns_is_found_whole(tmp_path: Path) -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    row = Example("row", (*turns, Message("assistant", "d")))
    sample = {"id": 1, "epoch": 1, "output": message("found")}
    path = whole(tmp_path, [{**sample, "input": [turn.to_dict() for turn in turns]}])
    assert read_predictions(path, ["row"], [input_sha256(row)]) == ["found"]


WRITTEN = Path(__file__).parents[1] / "compat" / "logs" / "written"
CARD = Example.of("Where is my card?", "cards")
LOAN = Example.of("When is my loan paid out?", "loans")
TALK = ("Is it lost?", "Is what lost?", "My card.", "cards")
DIALOGUE = Example("", tuple(Message(("user", "assistant")[n % 2], t) for n, t in enumerate(TALK)))


@pytest.mark.parametrize("name", ["inspect.eval", "inspect.json"])
def test_a_log_that_inspect_has_written_answers_its_rows(name: str) -> None:
    asked = [input_sha256(row) for row in (DIALOGUE, LOAN, CARD)]
    assert read_predictions(WRITTEN / name, ["a", "b", "c"], asked) == ["cards", "loans", "cards"]
    logged = read_log(WRITTEN / name) or []
    assert [one.rank for one in logged] == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("name", ["generated", "chat", "chosen"])
def test_a_log_that_lm_eval_has_written_answers_its_rows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append)
    path = WRITTEN / f"lm-eval-{name}.jsonl"
    asked = [input_sha256(row) for row in (LOAN, CARD)]
    found = read_predictions(path, ["a", "b"], asked, progress)
    assert "2 by a field of the document" in said[0]
    if name != "chosen":
        assert found == [{"generated": "lol", "chat": "cards"}[name]] * 2
        return
    for answer, line in zip(found, reversed(path.read_text("utf-8").splitlines()), strict=True):
        graded = json.loads(line)  # by lm-eval, for what it takes to be chosen
        assert answer in ("cards", "loans")
        assert (answer == graded["doc"]["answer"]) == bool(graded["acc"])


ASKED = [
    {"role": "user", "content": "Delete all?"},
    {"role": "assistant", "content": "Sure?"},
    {"role": "user", "content": "yes"},
]


def sample(id: Any, asked: Any, answer: str) -> dict[str, Any]:
    return {"id": id, "epoch": 1, "input": asked, "output": message(answer)}


def line(number: int, asked: str, reply: str, **doc: Any) -> dict[str, Any]:
    return {"doc_id": number, "doc": doc, "arguments": [[asked, {}]], "resps": [[reply]]}


NEAR: dict[str, tuple[list[dict[str, Any]], str | None]] = {
    "last turn": ([sample(1, ASKED, "wrong"), sample(2, "yes", "right")], "right"),
    "no field of the prompt": (
        [line(0, "Do you agree?", "wrong", answer="yes"), line(1, "Q: yes", "right", q="yes")],
        "right",
    ),
    "two questions": ([sample(1, ASKED, "a"), sample(2, [*ASKED[1:]], "b")], None),
    "the id of a count": ([sample(1, "unrelated", "wrong")], None),
    "a position": ([line(1, "unrelated", "wrong", id=1)], None),
    "an id": ([sample("1", "unrelated", "right")], "right"),
}


@pytest.mark.parametrize("case", NEAR)
def test_what_is_near_is_not_what_was_asked(case: str, tmp_path: Path) -> None:
    said, right = NEAR[case]
    asked = [input_sha256(Example.of("yes", "a"))]
    for one in (said, said[::-1]):
        path = whole(tmp_path, one)
        if "doc_id" in one[0]:
            path = tmp_path / "samples_x.jsonl"
            path.write_text("".join(json.dumps(each) + "\n" for each in one))
        if right is None:
            with pytest.raises(DataError, match="1 of the 1 row has no answer"):
                read_predictions(path, ["1"], asked)
        else:
            assert read_predictions(path, ["1"], asked) == [right]


def test_a_question_of_one_row_is_no_other_rows(tmp_path: Path) -> None:
    rows = [Example("a", (*map(_turn, ASKED), Message("assistant", ""))), Example.of("yes", "")]
    path = whole(tmp_path, [sample(1, ASKED, "deleted")])
    with pytest.raises(DataError, match="1 of the 2 rows has no answer"):
        read_predictions(path, ["a", "b"], [input_sha256(row) for row in rows])


def _turn(turn: dict[str, Any]) -> Message:
    return Message(turn["role"], turn["content"])


def test_broken_logs_end_in_sentences(tmp_path: Path) -> None:
    good = archive(tmp_path, SAMPLES)
    cut = tmp_path / "cut.eval"
    cut.write_bytes(good.read_bytes()[:200] + b"x" * 60 + good.read_bytes()[260:])
    empty = tmp_path / "empty.eval"
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("other.txt", "x")
    other = tmp_path / "other.json"
    other.write_text('{"a": 1}')
    half = tmp_path / "half.json"
    half.write_text(json.dumps({"samples": [sample(1, "\ud800", "x")]}))
    locked, packed = tmp_path / "locked.eval", tmp_path / "packed.eval"
    # The bit of its flags that says that a member is encrypted, there and in the directory.
    raw = bytearray(good.read_bytes())
    first, listed = (
        raw.index(b"PK\x03\x04", 4),
        raw.index(b"PK\x01\x02", raw.index(b"PK\x01\x02") + 4),
    )
    raw[first + 6] |= 1
    raw[listed + 8] |= 1
    locked.write_bytes(raw)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("samples/1_epoch_1.json", "x" * 300)
    raw = bytearray(packed.read_bytes())
    at = raw.index(b"samples/") + len("samples/1_epoch_1.json")
    raw[at : at + 12] = b"\xff" * 12
    packed.write_bytes(raw)
    for path, said in (
        (cut, "log"),
        (empty, "no samples"),
        (other, "no `samples`"),
        (half, "half of a character"),
        (locked, "encrypted"),
        (packed, "cannot be read"),
    ):
        with pytest.raises(DataError, match=said):
            read_predictions(path, IDS, INPUTS)
