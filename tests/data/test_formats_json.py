"""JSONL, JSON arrays and JSON one after another; shapes other than conversations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.config import Columns
from assay.data import encoding
from assay.data.read import Row, detect, read
from assay.errors import DataError


def write(folder: Path, text: str, name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def lines(folder: Path, *records: Any) -> Path:
    return write(folder, "".join(json.dumps(r) + "\n" for r in records))


def codes(rows: list[Row]) -> list[str]:
    return [p.code for row in rows for p in row.problems]


def pairs(rows: list[Row]) -> list[tuple[str, str]]:
    return [(r.example.input, r.example.output) for r in rows if r.example]


def test_a_broken_line_costs_only_itself(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"text": "a", "label": "b"}\n'
        '{"text": "c", "label": }\n'
        "\n"
        '["a", "b"]\n'
        '"text"\n'
        '{"text": "n", "label": NaN}\n'
        '{"text": "c", "label": "d"}\n',
    )
    rows = list(read(path))
    assert detect(path).format == "jsonl-objects"
    assert [r.line for r in rows] == [1, 2, 4, 5, 6, 7]
    assert codes(rows) == ["invalid-json", "not-an-object", "not-an-object", "invalid-json"]
    assert pairs(rows) == [("a", "b"), ("c", "d")]
    assert "column" in rows[1].problems[0].message
    assert "NaN" in rows[4].problems[0].message


def test_a_broken_first_line_does_not_hide_the_format(tmp_path: Path) -> None:
    path = write(tmp_path, '{"text": oops}\n' + '{"text": "a", "label": "b"}\n' * 3)
    assert detect(path).format == "jsonl-objects"
    assert codes(list(read(path))) == ["invalid-json"]


def test_all_lines_broken(tmp_path: Path) -> None:
    path = write(tmp_path, '{"text": oops}\n{"text": "c", "label"\n')
    rows = list(read(path))
    assert codes(rows) == ["invalid-json"] * 2
    cut = rows[1].problems[0].message  # where the line ends, not on the next one
    assert "it ends too early (a colon is missing after a name), at column 22," in cut


@pytest.mark.parametrize(
    ("text", "code"),
    [("\\ud83d", "lone-surrogate"), ("\\udE00", "lone-surrogate"), ("\\u0000", "nul-byte")],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_escapes_that_are_no_text(tmp_path: Path, text: str, code: str, name: str) -> None:
    records = ['{"text": "a", "label": "b"}', f'{{"text": "{text}", "label": "b"}}']
    body = "\n".join(records) if name == "a.jsonl" else "[" + ",".join(records) + "]"
    rows = list(read(write(tmp_path, body, name)))
    assert codes(rows) == [code]
    assert rows[1].problems[0].field == "text"
    fine = '{"text": "\\ud83d\\ude00 \\\\ud83d \\\\u0000", "label": "b"}'
    assert codes(list(read(write(tmp_path, fine)))) == []


def test_a_field_above_ten_megabytes(tmp_path: Path) -> None:
    path = lines(tmp_path, {"text": "x" * 10_000_001, "label": "b"}, {"text": "a", "label": "b"})
    rows = list(read(path))
    assert codes(rows) == ["field-too-large"]
    assert rows[0].problems[0].field == "text"
    assert pairs(rows) == [("a", "b")]


def test_a_line_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "LINE_LIMIT", 1000)
    path = lines(tmp_path, {"text": "a", "label": "b"}, {"text": "x" * 2000, "label": "b"})
    with pytest.raises(DataError, match=r"line 2.*longer than"):
        list(read(path))


def test_array_with_its_lines(tmp_path: Path) -> None:
    records = [{"text": f"a{i}", "label": "b"} for i in range(3)]
    path = write(tmp_path, json.dumps(records, indent=2).replace("\n", "\r\n"), "a.json")
    assert detect(path).format == "json-objects"
    rows = list(read(path))
    assert [r.line for r in rows] == [2, 6, 10]
    assert pairs(rows) == [(f"a{i}", "b") for i in range(3)]


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_array_read_in_any_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, end: str
) -> None:
    monkeypatch.setattr(encoding, "CHUNK", chunk)
    records = [{"text": f'"{i}" é \\ [', "label": i, "more": [1.5e3, True, None]} for i in range(9)]
    text = json.dumps(records, indent=1, ensure_ascii=False).replace("\n", end)
    rows = list(
        read(write(tmp_path, text, "a.json"), columns=Columns(input=["text"], output=["label"]))
    )
    assert [r.raw for r in rows] == records
    assert [r.line for r in rows] == [2 + 9 * i for i in range(9)]


def test_values_are_never_cut_in_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK", 1)
    rows = list(read(write(tmp_path, '[{"text": "a", "label": "b"}, 123, 456]', "a.json")))
    assert [r.raw for r in rows[1:]] == [123, 456]
    assert codes(rows) == ["not-an-object"] * 2


def test_an_array_is_read_up_to_where_it_breaks(tmp_path: Path) -> None:
    good = '{"text": "a", "label": "b"}'
    for broken, line in [
        (f'[{good},\n{good},\n{{"text": oops}},\n{good}]', 3),
        (f"[{good},\n{good}\n{good}]", 3),
        (f"[{good},\n{good}", 2),
        (f"[{good},\n{good}] {good}", 2),
        (f"[{good},\n{good},\n]", 3),
        (f'[{good},\n{good},\n{{"text": "never closed', 3),
    ]:
        rows = list(read(write(tmp_path, broken, "a.json")))
        assert len(pairs(rows)) == 2, broken
        assert codes(rows) == ["invalid-json"], broken
        assert rows[-1].line == line, broken


def test_objects_one_after_another(tmp_path: Path) -> None:
    one = json.dumps({"text": "a", "label": "b"}, indent=2)
    rows = list(read(write(tmp_path, f"{one}\n{one}\n", "a.json")))
    assert (pairs(rows), [r.line for r in rows]) == ([("a", "b")] * 2, [1, 5])


def test_one_object_is_no_list_of_records(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"data": [{"text": "a"}], "version": 1}, indent=1), "a.json")
    for call in (detect, read):
        with pytest.raises(DataError, match="one JSON object"):
            call(path)


def test_json_values_become_text(tmp_path: Path) -> None:
    record = {"text": {"a": 1}, "label": {"ü": [1, None]}, "n": 1.0, "t": True, "e": None}
    path = lines(tmp_path, record)
    assert pairs(list(read(path))) == [('{"a": 1}', '{"ü": [1, null]}')]
    for column, text in [("n", "1.0"), ("t", "true"), ("e", "")]:
        assert (
            pairs(list(read(path, columns=Columns(input=["text"], output=[column]))))[0][1] == text
        )
    several = Columns(input=["n", "t"], output=["e", "label", "text"])
    asked, answer = pairs(list(read(path, columns=several)))[0]
    assert asked == "n: 1.0\nt: true"
    assert answer == '{"e": null, "label": {"ü": [1, null]}, "text": {"a": 1}}'


def test_a_field_missing_in_one_record(tmp_path: Path) -> None:
    path = lines(tmp_path, {"text": "a", "label": "b"}, {"text": "a", "Label": "b"})
    rows = list(read(path))
    assert codes(rows) == ["missing-field"]
    assert (rows[1].line, rows[1].problems[0].field) == (2, "label")
    assert "text, Label" in rows[1].problems[0].message
    assert "Did you mean Label?" in rows[1].problems[0].fix


def test_prompt_completion(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {"prompt": "q", "completion": " a"},
        {
            "prompt": [{"role": "user", "content": "q"}],
            "completion": [{"role": "assistant", "content": "a"}],
        },
        {"prompt": "q", "completion": 3},
        {"prompt": "q"},
        {"prompt": [{"role": "user", "content": "q"}], "completion": []},
    )
    assert detect(path).format == "prompt-completion"
    rows = list(read(path))
    assert pairs(rows) == [("q", " a"), ("q", "a")]
    assert codes(rows) == ["wrong-type", "missing-field", "no-messages"]


def test_alpaca(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {
            "instruction": "Add",
            "input": "1 2",
            "output": "3",
            "system": "S",
            "history": [["q", "a"]],
        },
        {"instruction": "Say", "input": "", "output": "hi"},
        {"instruction": "Say", "chosen": "hi", "rejected": "no"},
        {"instruction": "Say", "output": "hi", "kto_tag": False},
        {"instruction": "Say", "output": "hi", "history": ["q", "a"]},
        {"instruction": 5, "output": "hi"},
        {"instruction": "Say"},
        {"instruction": "Say", "output": "hi", "kto_tag": "no"},
        {"instruction": "Say", "output": "hi", "images": ["a.png"]},
    )
    assert detect(path).format == "alpaca"
    rows = list(read(path))
    first = rows[0].example
    assert first is not None
    assert [(m.role, m.content) for m in first.messages] == [
        ("system", "S"),
        ("user", "q"),
        ("assistant", "a"),
        ("user", "Add\n1 2"),
        ("assistant", "3"),
    ]
    assert rows[2].example is not None
    assert [m.content for m in rows[2].example.rejected] == ["no"]
    assert rows[3].example is not None
    assert rows[3].example.desirable is False
    assert [r.line for r in rows if r.example is None] == [5, 6, 7, 8, 9]
    assert codes(rows) == [
        *["wrong-type"] * 3,
        "missing-field",
        "wrong-type",
        "unsupported-content",
    ]


def test_self_instruct(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {
            "id": "t",
            "instruction": "Add",
            "instances": [{"input": "1 2", "output": "3"}, {"input": "2 2", "output": "4"}],
        },
        {"instruction": "Add", "instances": [{"input": "1 1", "output": "2"}, "oops"]},
        {"id": "u", "instruction": "Add", "instances": []},
    )
    assert detect(path).format == "self-instruct"
    rows = list(read(path))
    assert pairs(rows) == [("Add\n1 2", "3"), ("Add\n2 2", "4"), ("Add\n1 1", "2")]
    assert [r.example.id for r in rows if r.example] == ["t/1", "t/2", "row-2/1"]
    assert codes(rows) == ["wrong-type", "no-messages"]
    assert [r.line for r in rows] == [1, 1, 2, 2, 3]


def test_kto(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path = lines(
        tmp_path,
        {"messages": turns, "label": True},
        {"prompt": "q", "completion": "a", "label": False},
        {"messages": turns, "label": "yes"},
        {"messages": turns},
    )
    assert detect(path).format == "kto"
    rows = list(read(path))
    assert [r.example.desirable for r in rows if r.example] == [True, False]
    assert codes(rows) == ["wrong-type", "missing-field"]


def test_preference(tmp_path: Path) -> None:
    user, good, bad = (
        {"role": r, "content": c}
        for r, c in [("user", "q"), ("assistant", "a"), ("assistant", "b")]
    )
    path = lines(
        tmp_path,
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": [user], "chosen": [good], "rejected": [bad]},
        {"prompt": [user], "chosen": [user, good], "rejected": [user, bad]},
        {"prompt": "q", "chosen": "a", "rejected": "a"},
        {"prompt": "q", "chosen": "a"},
        {"prompt": "q", "chosen": [good, user], "rejected": "b"},
    )
    assert detect(path).format == "preference"
    rows = list(read(path))
    got = [
        (r.example.input, r.example.output, r.example.rejected[0].content)
        for r in rows
        if r.example
    ]
    assert got == [("q", "a", "b")] * 3 + [("q", "a", "a")]
    assert codes(rows) == ["same-answers", "missing-field", "wrong-type"]


def test_openai_preference(tmp_path: Path) -> None:
    good = {
        "input": {
            "messages": [{"role": "user", "content": "q"}],
            "tools": [],
            "parallel_tool_calls": True,
        },
        "preferred_output": [{"role": "assistant", "content": "a"}],
        "non_preferred_output": [{"role": "assistant", "content": "b"}],
    }
    path = lines(
        tmp_path,
        good,
        {**good, "preferred_output": []},
        {**good, "preferred_output": [{"role": "user", "content": "a"}]},
        {**good, "input": "q"},
        {key: value for key, value in good.items() if key != "non_preferred_output"},
    )
    assert detect(path).format == "openai-preference"
    rows = list(read(path))
    assert pairs(rows) == [("q", "a")]
    assert rows[0].example is not None
    assert rows[0].example.rejected[0].content == "b"
    assert codes(rows) == ["no-messages", "wrong-type", "missing-field", "missing-field"]
