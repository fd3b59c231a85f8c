"""Texts made to slow down what looks at them: patterns, and loops that a pattern's place took."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from tests.figures import Figure
from tests.knowledge.wordy import Wordy
from tests.serve.running import STARTER, Running, running
from tests.serve.scripted import ScriptedEngine

from assay import patterns
from assay.chat.tool_text import Reader, find_calls
from assay.config.routes import RouteConditions
from assay.data.drafting import draft_questions
from assay.data.privacy import mask_within
from assay.errors import UsageError
from assay.evaluate import rewards
from assay.evaluate.graders.plain import RegexSettings
from assay.example import Message
from assay.knowledge.chunk import _LONGEST_CONTEXT, Chunker, Page, _headings
from assay.release import traces
from assay.store.store import Store

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The script's module; as scripts they find each other beside themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import patterns

        yield patterns


def growth(run: Callable[[int], object], length: int) -> float:
    """Processor time at four times the length as a multiple: 4 is linear, 16 is quadratic.

    The least of each length counts, of three runs, and of up to ten where the multiple is then not
    below 9: a busy machine lengthens runs.
    """
    least = {length: math.inf, 4 * length: math.inf}
    found = math.inf
    for turn in range(10):
        for size in least:
            began = time.thread_time()
            run(size)
            least[size] = min(least[size], time.thread_time() - began)
        found = least[4 * length] / max(least[length], 0.0005)
        if turn >= 2 and found < 9:
            break
    return found


def test_no_pattern_of_the_source_grows_faster_than_n_log_n(bench: Any) -> None:
    found = bench.uses()
    assert len(found) > 80
    slow = [str(one) for use in found for one in bench.slowest(use, 750) if one.too_fast]
    assert not slow, "\n".join(slow)


@pytest.mark.soak
def test_no_pattern_grows_on_long_texts_either(bench: Any, figure: Figure) -> None:
    found = bench.uses()
    grown = [one for use in found for one in bench.slowest(use, 12_000)]
    assert not [str(one) for one in grown if one.too_fast]
    figure("patterns of the source that grow faster than n log n", f"0 of {len(found)}")


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"(a+)+$", "fullmatch"),
        (r"\{\{.*?\}\}", "finditer"),
        (r"(?m)^(#{1,6})[ \t]+(.+?)[ \t#]*$", "finditer"),
        (r"<prompt>\s*(.+?)\s*</prompt>", "search"),
        (r"(?m)^\s*providers\b", "search"),
        (r"\[([^\]]*)\]\([^)]*\)", "finditer"),
        (r"\s+$", "search"),
    ],
)
def test_the_bench_finds_what_is_slow(
    bench: Any, pattern: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What does not end is known by then, and is measured six times.
    monkeypatch.setattr(bench, "CLOCK_S", 0.15)
    use = bench.Use("here", re.compile(pattern, re.DOTALL), (method,))
    # Other work may slow a harmless attack down so far that the search ends with it.
    assert any(one.too_fast for _ in range(3) for one in bench.slowest(use, 750))


def test_templates_of_a_grader() -> None:
    def check(length: int) -> None:
        grader = {"type": "string_check", "name": "a", "operation": "eq", "reference": "b"}
        rewards.check(rewards.GRADER.validate_python({**grader, "input": "{{" * length}))

    assert growth(check, 10_000) < 9


def test_a_graders_texts_are_counted_before_they_are_filled_in() -> None:
    grader = rewards.GRADER.validate_python(
        {"type": "string_check", "name": "a", "operation": "eq", "reference": "b",
         "input": "{{item.a}}" * 9000}
    )  # fmt: skip
    tracemalloc.start()
    with pytest.raises(UsageError):
        rewards.run(grader, {"a": "x" * 90_000}, "")  # 800 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_many_long_comparisons_are_one_grader_and_have_one_limit() -> None:
    part = {"type": "text_similarity", "name": "a", "evaluation_metric": "fuzzy_match",
            "input": "{{item.a}}", "reference": "{{item.b}}"}  # fmt: skip
    graders = {f"g{n}": part for n in range(100)}
    multi = {"type": "multi", "name": "m", "graders": graders, "calculate_output": "g0"}
    began = time.thread_time()
    with pytest.raises(UsageError):
        rewards.run(
            rewards.GRADER.validate_python(multi), {"a": "a" * 49_000, "b": "ab" * 24_000}, ""
        )
    assert time.thread_time() - began < 2


def test_headings_of_a_document() -> None:
    assert growth(lambda n: _headings("# a" + " #" * n + "x"), 5_000) < 9
    assert growth(lambda n: _headings("# a" + " " * n + "x"), 5_000) < 9
    [(_, _, words)] = _headings("# " + "a" * 100_000)
    assert len(words) == _LONGEST_CONTEXT  # each passage below repeats them


def test_quotes_and_lists_of_a_document_within_each_other() -> None:
    chunker = Chunker(Wordy().tokenizer_json(), 64)
    nested = [("", "> "), ("", "- "), ("", "1. "), ("a\r", "> "), ("[^1]: ", "> "), ("a\n: ", "- ")]
    for start, mark in (*nested, ("", "[^1]: > "), ("a\n", ": > ")):

        def cut(n: int, start: str = start, mark: str = mark) -> object:
            return chunker.chunks("a.md", [Page(None, start + mark * n + "a")])

        assert growth(cut, 4_000) < 9, (start, mark)


def test_lines_of_a_document_that_questions_are_drafted_of() -> None:
    for unit in ("# #" + "\t" * 50, "[", "0.0", "**"):
        assert growth(lambda n, unit=unit: list(draft_questions(unit * n)), 5_000) < 9


def test_telephone_numbers_in_any_field_of_a_message() -> None:
    def masked(count: int) -> int:
        numbers = " ".join(f"+49 30 {1_000_000 + n}" for n in range(count))
        text, found = mask_within({"name": numbers})
        assert "+49" not in text["name"]
        return len(found)

    assert masked(5000) == 5000
    assert growth(masked, 2500) < 9


def test_a_trace_that_is_too_long_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    monkeypatch.setattr(traces, "policy", lambda *_: SimpleNamespace(active=True))
    monkeypatch.setattr(traces, "mask_within", lambda _: pytest.fail("masked before it is counted"))
    long = Message("user", "hello", name="+49 30 1234567 " * 20_000)
    answer = Message("assistant", "yes")
    assert not traces.record(
        store, "p", "r", "a", id=traces.new_id(), messages=[long], answer=answer
    )


_EVIL = "^(a|aa)+$"
_SLOW_CALL = json.dumps({"name": "f", "arguments": {"a": "a" * 60 + "!"}})


def _tool(schema: dict[str, Any]) -> dict[str, Any]:
    function = {"name": "f", "strict": True, "parameters": {"type": "object", "properties": schema}}
    return {"type": "function", "function": function}


def test_all_calls_of_an_answer_have_one_deadline() -> None:
    text = "[" + ", ".join([_SLOW_CALL] * 150) + "]"
    good = text.replace(_SLOW_CALL, '{"name": "f", "arguments": {"a": "aa"}}', 1)
    began = time.thread_time()
    for one in (text, good, "".join(f"<tool_call>{_SLOW_CALL}</tool_call>" for _ in range(150))):
        assert find_calls(one, [_tool({"a": {"pattern": _EVIL}})])[1] == ()
    assert time.thread_time() - began < 3


@pytest.mark.parametrize("schema", [{"uniqueItems": True}, {"items": {"pattern": "b" * 100_000}}])
def test_keywords_that_have_no_clock(schema: dict[str, Any]) -> None:
    items = [[n] if n % 2 else str(n) for n in range(10_000)]
    text = json.dumps({"name": "f", "arguments": {"a": items}})
    began = time.thread_time()
    find_calls(text, [_tool({"a": schema})])
    assert time.thread_time() - began < 1.5


EXPENSIVE = (
    "a{9999999}",
    "[ab]{1000000}",
    "(ab){1000000}",
    "(" * 20 + "a" + ")+" * 20,
    "(?:" * 10 + "a" + "){2,}" * 10,
    "([)]" * 20 + "a" + "[(])+" * 20,
    "(\\)" * 20 + "a" + "\\()+" * 20,
    "(?x)" + "(#[\n" * 20 + "a" + ")+" * 20,
    "(?V1)" + "([[]]" * 20 + "a" + ")+" * 20,
    "(" * 20 + "a" + "[[:alpha:](]" * 20 + ")+" * 20 + "[[:alpha:])]" * 20,
    "b" * 100_000,
    "(" * 5000 + ")" * 5000,
)


@pytest.mark.parametrize("pattern", EXPENSIVE, ids=range(len(EXPENSIVE)))
def test_a_pattern_that_is_gigabytes_when_it_is_read(pattern: str) -> None:
    """20 brackets with a plus are 1.6 GB, each further one is twice as much."""
    with pytest.raises(ValueError, match=r"pattern|expression"):
        patterns.compile_pattern(pattern)
    call = '{"name": "f", "arguments": {"a": "a"}}'
    assert find_calls(call, [_tool({"a": {"pattern": pattern}})])[1] == ()
    for settings in (RouteConditions, RegexSettings):
        with pytest.raises(ValidationError):
            settings(pattern=pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$", "6fa459ea-ee8a-4ca4-894e-db77e160355e"),
        (r"^((25[0-5]|(2[0-4]|1\d|[1-9]|)\d)\.?\b){4}$", "192.168.0.1"),
        (r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", "aGVsbG8="),
        (r"^[\w.+-]+@([\w-]+\.)+[\w-]{2,}$", "ann@mail.example.org"),
        (r"^\d{4}-\d{2}-\d{2}T\d{2}[:.]\d{2}(?P<zone>Z|[+-]\d{2}:\d{2})$", "2026-11-26T19:20Z"),
        (r"^[a-f0-9]{128}$", "0" * 128),
        (r"^.{1,100000}$", "anything"),
        (r"^(?:\S+\s+){0,500}\S+$", "a few words"),
        (r"\[[^[\]]*\]", "a [note]"),
        (r"[]a]+(?i:B)\p{L}", "]abc"),
    ],
)
def test_patterns_that_people_write_are_read(pattern: str, text: str) -> None:
    assert patterns.compile_pattern(pattern).search(text, timeout=1)


def test_a_call_in_many_pieces() -> None:
    def read(pieces: int) -> None:
        reader = Reader([])
        for _ in range(pieces):
            reader.feed('{"a": 1}, ' * 8)

    assert growth(read, 20_000) < 9


@pytest.mark.parametrize(
    "block",
    [
        '<tool_call>{"name": "f", "arguments": {"a": "</tool_call>"}}</tool_call>',
        '<tool_call>["</tool_call>",',
    ],
)
def test_many_calls_that_hold_a_mark(block: str) -> None:
    assert growth(lambda count: find_calls(block * count, [_tool({})]), 1000) < 9


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as server:
        yield server


@pytest.mark.parametrize("stream", [False, True])
def test_slow_calls_do_not_stop_the_loop(
    server: Running, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_loop: list[bool] = []
    compile_pattern = patterns.compile_pattern

    def watched(*given: Any, **named: Any) -> Any:
        in_loop.append(asyncio._get_running_loop() is not None)
        return compile_pattern(*given, **named)

    monkeypatch.setattr(patterns, "compile_pattern", watched)
    calls = "[" + ",".join([_SLOW_CALL.replace(" ", "")] * 150) + "]"
    server.engines.the = ScriptedEngine(script=lambda *_: calls)
    body = {
        "model": STARTER,
        "messages": [{"role": "user", "content": "go"}],
        "tools": [_tool({"a": {"pattern": _EVIL}})],
        "stream": stream,
    }
    with server.http() as client:
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        wished = {
            **body,
            "input": "go",
            "tools": [{"type": "function", **body["tools"][0]["function"]}],
        }
        del wished["messages"]
        assert client.post("/v1/responses", json=wished).status_code == 200
    assert len(in_loop) >= 2
    assert not any(in_loop)
