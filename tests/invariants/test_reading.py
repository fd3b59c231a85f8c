"""Whatever a file holds: no traceback, and each row either is an example or says why not."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.data.problems import CODES
from assay.data.read import FORMATS, Row, read
from assay.errors import AssayError


def rows_of(data: bytes, name: str, format: str | None = None) -> list[Row]:
    """The rows of a file with these bytes; a clear error counts as none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            return list(read(path, format))
        except AssayError as error:
            where = error.where or ""
        assert str(path) in where
        return []


def check(rows: list[Row]) -> None:
    for row in rows:
        assert (row.example is None) == any(one.severity == "error" for one in row.problems)
        for problem in row.problems:
            assert problem.severity == CODES[problem.code][0]
            assert problem.message.endswith(".")
            assert problem.fix
        json.dumps(row.raw, default=str).encode()
        if row.example is not None:
            assert row.example.target.role == "assistant"
            assert row.example.line == row.line
            assert row.example.content_hash()
    lines = [row.line for row in rows]
    assert lines == sorted(lines)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.jsonl", "a.json", "a.csv.gz", "a"]))
def test_any_bytes(data: bytes, name: str) -> None:
    check(rows_of(gzip.compress(data) if name.endswith(".gz") else data, name))


def whole_files() -> dict[str, bytes]:
    records = [{"text": f"é {i}", "label": "b"} for i in range(5)]
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    book = openpyxl.Workbook()
    for row in [["text", "label"], ["a", "b"]]:
        book.active.append(row)
    sheet, table = io.BytesIO(), io.BytesIO()
    book.save(sheet)
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["c", "d"]}), table)
    csv = 'text,label\n"a, ""b""\nc",d\né,f\n'
    return {
        "a.csv": csv.encode(),
        "b.csv": csv.encode("utf-16"),
        "a.csv.gz": gzip.compress(csv.encode()),
        "a.jsonl": "\n".join(json.dumps(r, ensure_ascii=False) for r in records).encode(),
        "a.json": json.dumps(records, indent=1).encode(),
        "chat.jsonl": (json.dumps({"messages": turns}) + "\n").encode() * 3,
        "a.parquet": table.getvalue(),
        "a.xlsx": sheet.getvalue(),
    }


FILES = whole_files()


@pytest.mark.parametrize("name", FILES)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_damaged_files(name: str, data: st.DataObject) -> None:
    """A few bytes changed, or the end cut off."""
    damaged = bytearray(FILES[name])
    check(rows_of(bytes(damaged), name))
    places = data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4))
    for place in places:
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    check(rows_of(bytes(damaged[:cut] if cut % 2 else damaged), name))


TURN_KEYS = ["role", "content", "from", "value", "tool_calls", "function", "function_call", "name"]
TURN_KEYS += ["arguments", "id", "type", "text", "tool_call_id", "weight", "messages", "input"]
KEYS = ["messages", "tools", "functions", "weight", "id", "group", "references", "label", "prompt"]
KEYS += ["completion", "chosen", "rejected", "conversations", "system", "instruction", "input"]
KEYS += ["output", "history", "instances", "kto_tag", "preferred_output", "non_preferred_output"]
KEYS += ["images", "text"]
TEXTS = ["", "user", "assistant", "human", "gpt", "tool", "function_call", "{}", "[]", "x"]

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.sampled_from(TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(TURN_KEYS), inner, max_size=4),
    ),
    max_leaves=12,
)
RECORDS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)


@settings(deadline=None, max_examples=300)
@given(st.lists(RECORDS, min_size=1, max_size=3), st.sampled_from([None, *FORMATS]))
def test_any_json_in_any_format(records: list[dict[str, Any]], format: str | None) -> None:
    data = "\n".join(json.dumps(record) for record in records).encode()
    check(rows_of(data, "a.jsonl", format))
