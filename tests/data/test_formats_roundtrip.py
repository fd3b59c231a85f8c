"""What is written in a format comes back as it was."""

from __future__ import annotations

import codecs
import csv
import io
import json
import tempfile
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assay.config import Columns
from assay.data.read import read
from assay.example import Example, Message, ToolCall

COLUMNS = Columns(input=["text"], output=["label"])
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
LATIN = st.text(
    st.one_of(
        st.sampled_from('abc ,;|"\n\r\t'), st.characters(min_codepoint=0xA0, max_codepoint=0xFF)
    ),
    max_size=40,
)


def table(cells: list[tuple[str, str]], delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["text", "label"])
    writer.writerows(cells)
    return out.getvalue()


def came_back(data: bytes, columns: Columns | None = COLUMNS, name: str = "a.csv") -> list[Example]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        rows = list(read(path, columns=columns))
    for row in rows:
        assert row.example is not None, row.problems
    return [row.example for row in rows if row.example]


def check(cells: list[tuple[str, str]], data: bytes) -> None:
    assert [(e.input, e.output) for e in came_back(data)] == cells


CELLS = st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=6)


@settings(deadline=None)
@given(CELLS)
def test_csv_in_utf_8(cells: list[tuple[str, str]]) -> None:
    text = table(cells)
    control = sum(c < " " and c not in "\t\n\r\f" for c in text)
    assume(control * 20 <= len(text))  # more than that is a binary file
    check(cells, text.encode())
    check(cells, codecs.BOM_UTF8 + text.encode())


@settings(deadline=None)
@given(CELLS)
def test_csv_in_utf_16(cells: list[tuple[str, str]]) -> None:
    text = table(cells)
    control = sum(c < " " and c not in "\t\n\r\f" for c in text)
    assume(control * 20 <= len(text))
    check(cells, codecs.BOM_UTF16_LE + text.encode("utf-16-le"))
    check(cells, codecs.BOM_UTF16_BE + text.encode("utf-16-be"))


@settings(deadline=None)
@given(st.lists(st.tuples(LATIN, LATIN), min_size=1, max_size=6))
def test_csv_in_latin_1(cells: list[tuple[str, str]]) -> None:
    """With plain words in it, most of the letters, as Western text has; see docs/data.md."""
    cells = [("plain words " * 100, "plain"), *cells]
    data = table(cells).encode("latin-1")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")
        broken = sum("\udc80" <= c <= "\udcff" for c in text)
        assume(sum(c > "\x7f" for c in text) - broken <= broken)  # else UTF-8 with a broken byte
    else:
        assume(data.isascii())  # the bytes also are UTF-8, and are read as that
    check(cells, data)


@settings(deadline=None)
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=6))
def test_jsonl_and_json(cells: list[tuple[str, str]]) -> None:
    records = [{"text": text, "label": label} for text, label in cells]
    for ascii_only in (True, False):
        lines = [json.dumps(r, ensure_ascii=ascii_only) for r in records]
        check(cells, "\n".join(lines).encode())
        check(cells, json.dumps(records, ensure_ascii=ascii_only, indent=1).encode())


MESSAGES = st.builds(
    lambda system, turns, last: (
        *((Message("system", system),) if system else ()),
        *(m for user, answer in turns for m in (Message("user", user), answer)),
        Message("user", "?"),
        last,
    ),
    ANY_TEXT,
    st.lists(
        st.tuples(
            ANY_TEXT,
            st.builds(
                lambda text, on: Message("assistant", text, trained=on), ANY_TEXT, st.booleans()
            ),
        ),
        max_size=3,
    ),
    st.one_of(
        st.builds(lambda text: Message("assistant", text), ANY_TEXT),
        st.builds(
            lambda text, value: Message(
                "assistant", text, tool_calls=(ToolCall("c1", "look_up", json.dumps({"x": value})),)
            ),
            ANY_TEXT,
            ANY_TEXT,
        ),
    ),
)
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
EXAMPLES = st.builds(
    lambda id, messages, tools, weight, group, references: Example(
        id, messages, tools, weight, group, tuple(references)
    ),
    ANY_TEXT.filter(bool),
    MESSAGES,
    st.sampled_from([(), (TOOL,)]),
    st.floats(0, 10),
    st.none() | ANY_TEXT.filter(bool),
    st.lists(ANY_TEXT, max_size=2),
)


@settings(deadline=None)
@given(st.lists(EXAMPLES, min_size=1, max_size=4))
def test_examples_through_a_file_of_openai_chat(examples: list[Example]) -> None:
    data = "".join(json.dumps(e.to_dict(), ensure_ascii=False) + "\n" for e in examples).encode()
    back = came_back(data, columns=None, name="a.jsonl")
    assert [e.line for e in back] == list(range(1, len(examples) + 1))
    assert [{**e.to_dict(), "line": 0} for e in back] == [
        {**e.to_dict(), "line": 0} for e in examples
    ]
