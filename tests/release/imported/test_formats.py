"""Each format in, one trace out; and what cannot be used is rejected with its place."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.release.imported import samples

from assay.errors import DataError, UsageError
from assay.example import Message, ToolCall
from assay.project.imported import list_jobs
from assay.release.imported import folder as folder_of_traces
from assay.release.imported import otel
from assay.release.imported.folder import TraceFolder, opened
from assay.release.imported.reading import format_named, read_file
from assay.release.imported.trace import ImportedTrace
from assay.store.files import append_durable


def traces_of(file: Path) -> list[ImportedTrace]:
    return [one.trace for one in read_file(file) if one.trace is not None]


@pytest.mark.parametrize("name", samples.FILES)
def test_every_format_says_the_same(name: str, tmp_path: Path) -> None:
    format, write = samples.FILES[name]
    found = [one for one in read_file(write(tmp_path)) if one.trace or one.reason]
    assert [(one.format, one.reason) for one in found] == [(format, None)]
    trace = found[0].trace
    assert trace is not None
    assert trace.messages == (
        Message("system", samples.SYSTEM),
        Message("user", samples.ASKED),
    )
    assert trace.answer == Message("assistant", samples.ANSWER)
    assert [tool["function"]["name"] for tool in trace.tools] == ["find"]
    assert (trace.model, trace.prompt_tokens, trace.completion_tokens) == ("gpt-4o-mini", 60, 4)
    assert trace.usd is None  # 0 where no price is known
    assert trace.at == samples.AT
    assert trace.seconds in (samples.SECONDS, None)
    assert (trace.seconds is None) == (format == "openai-stored")  # OpenAI does not tell
    assert (trace.cut, trace.thumb) == (False, "up" if name == "langfuse, traces" else None)


def deep(levels: int) -> dict[str, Any]:
    """A tool whose parameters have so many objects in each other."""
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"type": "object", "a": inner}
    return {"type": "function", "function": {"name": "find", "parameters": inner}}


REJECTED: dict[str, tuple[Any, str]] = {
    "a failed call of LiteLLM": (
        {**samples.LITELLM, "status": "failure", "response": None},
        "the call failed",
    ),
    "LiteLLM without messages": ({**samples.LITELLM, "messages": None}, "were not logged"),
    "a span without content": (samples.span({}), "CAPTURE_MESSAGE_CONTENT"),
    "logs": (
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "gen_ai.choice"}]}]}]},
        "sent as logs",
    ),
    "a failed generation": ({**samples.GENERATION, "level": "ERROR"}, "the call failed"),
    "messages that are elsewhere": (samples.STORED, "messages are not here"),
    "an id that is a path": ({**samples.STORED, "id": "../../x"}, "file's name"),
    "no answer": ({"messages": samples.MESSAGES}, "it has no answer"),
    "an image": (
        {
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "answer": "a cat",
        },
        "Assay reads text (messages[0].content[0])",
    ),
    "no turn of a user": ({"messages": samples.MESSAGES[:1], "answer": "a"}, "no turn of a user"),
    "too long": ({"input": "a" * 300_000, "output": "b"}, "longer than 256 KiB"),
    "unknown fields": ({"foo": samples.SECRET}, "no format that is known"),
    "a list": ([1, 2], "not an object"),
    "a record with a number too large": ({"input": "a", "output": {"b": float("1e400")}}, ""),
    "tools as text, that are deeper in a line": (
        {"input": "a", "output": "b", "tools": json.dumps([deep(97)])},
        "nested more than 100 deep",
    ),
    "a tool's name is not repeated": (
        {
            "input": "a",
            "output": {
                "role": "assistant",
                "tool_calls": [{"function": {"name": samples.SECRET, "arguments": "{"}}],
            },
        },
        "",
    ),
    "half a character": ({"input": "\ud800", "output": "b"}, "half of a character"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_cannot_be_used_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    record, reason = REJECTED[name]
    good = {"input": "a", "output": "b"}
    found = list(read_file(samples.as_lines(good, record, good)(tmp_path)))
    (bad,) = [one for one in found if one.reason]
    assert bad.line == 2
    assert bad.reason is not None
    assert reason in bad.reason
    assert samples.SECRET not in bad.reason
    assert sum(one.trace is not None for one in found) == 2


def test_bytes_that_are_no_text_cost_their_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl"
    good = json.dumps({"input": "ä" * 20, "output": "b"}, ensure_ascii=False).encode()
    file.write_bytes(b"\n".join([good, good.replace(b"b", b"\xff\xfe"), good, b""]))
    found = list(read_file(file))
    assert [(one.line, one.trace is None) for one in found] == [(1, False), (2, True), (3, False)]


@settings(max_examples=80)
@given(name=st.sampled_from(sorted(samples.FILES)), share=st.floats(0, 1))
def test_a_file_cut_at_any_byte_ends_in_a_place(name: str, share: float) -> None:
    """No traceback; every trace before the cut, and at most one rejection, at the last line."""
    with TemporaryDirectory() as folder:
        written = samples.FILES[name][1](Path(folder))
        whole = written.read_bytes() * (3 if written.suffix == ".jsonl" else 1)
        cut = whole[: int(share * (len(whole) - 1))]
        written.write_bytes(cut)
        found = [one for one in read_file(written) if one.trace or one.reason]
        rejected = [one for one in found if one.reason]
        lines = cut.count(b"\n")
        assert len(rejected) <= 1
        if written.suffix == ".jsonl":
            assert len(found) - len(rejected) in (lines, lines + 1)
            assert all(one.line == lines + 1 for one in rejected)
        assert all(1 <= one.line <= lines + 1 for one in rejected)
        with opened(Path(folder, "kept")) as kept:
            report = kept.add(written)
        assert report.rejected == len(rejected)


RECORDS: list[Any] = [
    samples.span(samples.NEWEST),
    samples.span(samples.STRUCTURED),
    samples.span(samples.OLDER, samples.EVENTS),
    samples.span(samples.NUMBERED),
    samples.span({}, samples.CONTENT),
    samples.LITELLM,
    samples.GENERATION,
    samples.LANGFUSE_TRACE,
    {**samples.STORED, "messages": samples.MESSAGES},
    samples.PLAIN,
]
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["chat", "1e999", "9" * 30, "9999-12-31T23:59:59-23:59", "[]", "{}", "[[1]]"]
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["role", "parts", "content", "name"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within a value."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


@settings(max_examples=150)
@given(st.data())
def test_odd_and_missing_values_anywhere_are_no_traceback(data: st.DataObject) -> None:
    record = copy.deepcopy(data.draw(st.sampled_from(RECORDS)))
    path = data.draw(st.sampled_from(list(places(record))))
    holder = record
    for key in path[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[path[-1]] = data.draw(ODD)
    else:
        del holder[path[-1]]
    with TemporaryDirectory() as folder:
        with opened(Path(folder, "kept")) as kept:
            kept.add(samples.as_lines(record)(Path(folder)))
        list_jobs(Path(folder, "kept"), {})


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
names = st.text(string.ascii_lowercase, min_size=1, max_size=8)
counts = st.none() | st.integers(0, 10**9)
calls = st.builds(
    lambda id, name, given: ToolCall(id, name, json.dumps(given)),
    st.uuids().map(str),
    names,
    st.dictionaries(names, words | st.integers(0, 9), max_size=2),
)


@st.composite
def traces(draw: st.DrawFn) -> ImportedTrace:
    """Any trace that a release may have kept."""
    turns = [Message("system", draw(words))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        turns.append(Message("user", draw(words)))
        made = tuple(draw(st.lists(calls, max_size=2)))
        turns.append(Message("assistant", draw(words), tool_calls=made))
        turns += [Message("tool", draw(words), tool_call_id=call.id) for call in made]
    turns.append(Message("user", draw(words), name=draw(st.none() | names)))
    seconds = draw(st.none() | st.integers(0, 10**9).map(lambda n: n / 1e6))
    moments = st.datetimes(
        min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)
    )
    return ImportedTrace(
        id=draw(names),
        messages=tuple(turns),
        answer=Message("assistant", draw(words), tool_calls=tuple(draw(st.lists(calls)))),
        tools=tuple({"type": "function", "function": {"name": n}} for n in draw(st.sets(names))),
        model=draw(st.none() | names),
        provider=draw(st.none() | names),
        prompt_tokens=draw(counts),
        completion_tokens=draw(counts),
        cached_tokens=draw(counts),
        usd=draw(st.none() | st.floats(0, 100)),
        seconds=seconds,
        at=draw(st.none() | moments.map(lambda one: one.isoformat())),
        thumb=draw(st.sampled_from([None, "up", "down"])),
        corrected=draw(st.none() | words.filter(str.strip)),
        cut=draw(st.booleans()),
    )


@settings(max_examples=100)
@given(st.lists(traces(), min_size=1, max_size=3))
def test_what_is_exported_is_imported_as_it_was(written: list[ImportedTrace]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "spans.jsonl")
        lines = (json.dumps(otel.write(one), ensure_ascii=False) + "\n" for one in written)
        file.write_text("".join(lines), "utf-8")
        read = traces_of(file)
    assert read == written


def test_nothing_secret_is_written_and_nothing_comes_twice(tmp_path: Path) -> None:
    """Whatever the format; a killed run leaves half a line, and the same command goes on."""
    folder = tmp_path / "kept"
    for number, (name, (_, write)) in enumerate(samples.FILES.items()):
        place = tmp_path / str(number)
        place.mkdir()
        file = write(place)
        with file.open("a") as more:
            more.write(f'\n{{"bad {samples.SECRET} {samples.MAIL}')
        with opened(folder) as kept:
            report = kept.add(file)
            assert kept.add(file).added == 0, name
        assert (name, report.rejected) == (name, 1)
        with (folder / "traces.jsonl").open("ab") as torn:
            torn.write(b'{"id": "half')
    every = b"".join(one.read_bytes() for one in folder.rglob("*") if one.is_file())
    assert samples.SECRET[:20].encode() not in every
    assert samples.MAIL.encode() not in every
    with opened(folder):
        pass
    found = list(TraceFolder(folder).traces())
    assert all("<e-mail address>" in trace.input for trace in found)
    assert (folder.stat().st_mode & 0o777, (folder / "traces.jsonl").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )


def test_secrets_within_json_are_replaced_and_it_stays_json(tmp_path: Path) -> None:
    said = json.dumps({"k": f"a\n{samples.SECRET}", "n": 4111111111111111, samples.MAIL: "\nx"})
    escaped = json.dumps({"m": samples.MAIL}).replace("@", "\\u0040")
    arguments = {"t": f"key:\n{samples.SECRET}", "id": 1772359200}
    call = {"id": "1", "function": {"name": "find", "arguments": json.dumps(arguments)}}
    record = {
        "messages": [{"role": "user", "content": escaped}],
        "answer": {"role": "assistant", "content": said, "tool_calls": [call]},
        "prompt_tokens": 4111111111111111,
    }
    with opened(tmp_path / "kept") as kept:
        assert kept.add(samples.as_lines(record)(tmp_path)).masked == 5
    (found,) = TraceFolder(tmp_path / "kept").traces()
    assert json.loads(found.messages[0].content) == {"m": "<e-mail address>"}
    assert json.loads(found.answer.content) == {
        "k": "a\n<OpenAI API key>",
        "n": "<card number>",
        "<e-mail address>": "\nx",
    }
    assert json.loads(found.answer.tool_calls[0].arguments) == {
        "t": "key:\n<OpenAI API key>",
        "id": 1772359200,
    }
    assert found.prompt_tokens == 4111111111111111


def test_a_call_is_known_by_what_it_says_where_each_file_is_numbered(tmp_path: Path) -> None:
    first = [{"id": n, "input": f"a {n}", "output": "b"} for n in (1, 2)]
    second = [{**one, "input": f"c {n}"} for n, one in enumerate(first)]
    grown = [{"input": "a", "output": "b"}, {"input": "a", "output": "b"}]
    with opened(tmp_path / "kept") as kept:
        reports = [
            kept.add(samples.as_lines(*rows)(tmp_path))
            for rows in (
                first,
                second,
                [{**one, "thumb": "up"} for one in first],
                grown,
                [*grown, {"input": "new", "output": "b"}],
            )
        ]
    assert [(one.added, one.known) for one in reports] == [(2, 0), (2, 0), (0, 2), (2, 0), (1, 2)]


def test_an_import_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each number of writes: nothing is lost, and nothing there twice."""
    file = samples.as_lines(*({"input": f"a {n}", "output": "b"} for n in range(12)))(tmp_path)
    monkeypatch.setattr(folder_of_traces, "_BATCH_BYTES", 1)

    def stop(path: Path, data: bytes) -> int:
        left.pop()  # IndexError, once there are none
        return append_durable(path, data)

    for writes in range(12):
        left = [None] * writes
        with monkeypatch.context() as stopping, opened(tmp_path / str(writes)) as kept:
            stopping.setattr(folder_of_traces, "append_durable", stop)
            with pytest.raises(IndexError):
                kept.add(file)
        with opened(tmp_path / str(writes)) as kept:
            report = kept.add(file)
            assert (report.known, report.added) == (writes, 12 - writes)
            assert sorted(t.input for t in kept.traces()) == sorted(f"a {n}" for n in range(12))


def test_a_folder_or_a_file_that_is_not_fit_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(0o755)
    mine = {"traces.jsonl": '{"a": 1}\nhalf', ".gitignore": "x\n", "README.txt": "Mine.\n"}
    for name, text in mine.items():
        (other / name).write_text(text)
    with pytest.raises(UsageError, match="it holds other files"), opened(other):
        pass
    assert {one.name: one.read_text() for one in other.iterdir()} == mine
    assert other.stat().st_mode & 0o777 == 0o755
    with pytest.raises(UsageError, match="no imported traces"):
        list(TraceFolder(tmp_path / "none").traces())
    with pytest.raises(UsageError, match="Did you mean 'litellm'"):
        format_named("litelm")
    with opened(tmp_path / "kept") as kept, pytest.raises(DataError, match="no such file"):
        kept.add(tmp_path / "missing.jsonl")
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    assert [one.reason for one in read_file(table)] == ["the file is neither JSON nor JSON Lines."]
