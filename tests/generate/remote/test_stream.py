"""A provider's model piece by piece: OpenAI's protocol and Anthropic's, well spoken and oddly."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.generate.remote.provider import (
    KEY,
    ProviderServer,
    Reply,
    delta,
    refused,
    said,
    serving,
    streamed,
)

from assay.errors import ModelError, UsageError
from assay.example import Message, ToolCall
from assay.generate.remote.stream import RemoteStreamEngine
from assay.generate.stream import BusyError, End, Piece, Sampling

ASKED = [Message("user", "hi")]
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
GOOD = streamed(
    delta(""), delta("a"), delta("b"), delta(finish="stop"), {"choices": [], "usage": USAGE}
)


def engine(served: ProviderServer, **fields: Any) -> RemoteStreamEngine:
    return RemoteStreamEngine("far", "big-1", served.provider(**fields), backoff_s=0.01)


def heard(
    served: ProviderServer, sampling: Sampling | None = None, tools: Any = (), **fields: Any
) -> tuple[str, End]:
    *pieces, end = engine(served, **fields).chat(ASKED, tools, sampling or Sampling())
    assert isinstance(end, End)
    return "".join(piece.text for piece in pieces if isinstance(piece, Piece)), end


def test_a_stream_comes_through_with_all_that_it_tells() -> None:
    with serving(lambda *_: GOOD, keep_alive=True) as served:
        sampling = Sampling(max_new_tokens=9, stop=("x",), top_p=0.5, reasoning_effort="low")
        text, end = heard(served, sampling)
    assert text == "ab"
    assert end == End("stop", 7, 3, 2, 1, (), "remote:far/big-1")
    assert served.asked[0] == {
        "model": "big-1",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 0.5,
        "reasoning_effort": "low",
        "stop": ["x"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("reply", "usage"),
    [
        (streamed(delta("ab"), delta(finish="length")), (None, None, None)),  # missing
        (streamed(delta("ab", usage=USAGE), delta(finish="length")), (7, 3, 2)),  # early
        (streamed(delta("a"), delta("b", finish="length"), done=False), (None, None, None)),
        (
            streamed(
                b": PROCESSING\n\n",
                b"event: x\r\n",
                delta("ab", finish="length"),
                b'data:{"choices":[],"usage":{"prompt_tokens":5}}\r\n\r\n',
            ),
            (5, None, None),
        ),
        (
            said("ab", usage=USAGE, finish_reason="length"),  # it cannot stream
            (7, 3, 2),
        ),
    ],
)
def test_usage_that_is_not_told_is_unknown(reply: Reply, usage: tuple[int | None, ...]) -> None:
    with serving(lambda *_: reply) as served:
        text, end = heard(served)
    assert text == "ab"
    assert end.finish == "length"
    assert (end.prompt_tokens, end.completion_tokens, end.cached_tokens) == usage


ODD = [
    (streamed(done=True), "was cut", True),
    (streamed(b"data: {broken\n\n"), "cut or not JSON", True),
    (streamed(b"data: [1]\n\n"), "not a JSON object", True),
    (streamed({"choices": 3}), "malformed", True),
    (streamed({"error": {"message": "upstream", "code": 502}}), "upstream", True),
    (Reply(b"<html>x</html>", headers={"Content-Type": "text/html"}), "text/html", False),
    (refused(503, "overloaded"), "HTTP 503: overloaded", True),
    (refused(429, "slow down"), "HTTP 429: slow down", True),
    (refused(429, "wait", **{"Retry-After": "3600"}), "HTTP 429: wait", False),
    (streamed(5.0, delta("late")), "no whole answer within 0.3 s", True),
    (Reply(b"{}", wait=5.0), "no answer within 0.3 s", True),
]


@pytest.mark.parametrize(("reply", "reason", "again"), ODD, ids=[reason for _, reason, _ in ODD])
def test_before_the_first_token_it_is_tried_again_and_then_told(
    reply: Reply, reason: str, again: bool
) -> None:
    limits = {"retries": 1, "timeout_s": 0.3, "stall_s": 0.3}
    with serving(lambda *_: reply) as served:
        with pytest.raises(ModelError, match=reason) as caught:
            heard(served, **limits)
        assert isinstance(caught.value, BusyError) is ("429" in reason)
        assert len(served.asked) == 1 + again
    with serving(lambda _, number: reply if number == 1 else GOOD) as served:
        if again:
            assert heard(served, **limits)[0] == "ab"


@pytest.mark.parametrize(
    "rest",
    [
        (),
        (5.0, delta("b")),
        (b"data: {broken\n\n",),
        tuple(part for _ in range(20) for part in (b": alive\n\n", 0.1)),
        tuple(part for _ in range(20) for part in (b'data: {"type": "ping"}\n\n', 0.1)),
    ],
    ids=["cut", "stalled", "malformed", "comments", "pings"],
)
def test_after_the_first_token_nothing_is_begun_again(rest: tuple[Any, ...]) -> None:
    with serving(lambda *_: streamed(delta("a"), *rest, done=False)) as served:
        stream = engine(served, retries=3, stall_s=0.3).chat(ASKED, (), Sampling())
        assert next(stream) == Piece("a")
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"cut|silent|no JSON"):
            next(stream)
        assert time.monotonic() - began < 2
    assert len(served.asked) == 1


def read_elsewhere(stream: Iterator[Piece | End]) -> threading.Event:
    """Another thread reads it to its end; set when that has come."""
    ended = threading.Event()

    def read() -> None:
        with suppress(ModelError):
            list(stream)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    return ended


def test_a_closed_stream_hangs_up_at_once_even_while_it_waits() -> None:
    with serving(lambda *_: streamed(delta("a"), 20.0, b"x" * 2**20, b"x" * 2**20)) as served:
        stream = engine(served).chat(ASKED, (), Sampling())
        next(stream)
        ended = read_elsewhere(stream)
        time.sleep(0.1)
        stream.close()  # type: ignore[attr-defined]
        assert ended.wait(2)


def test_a_stream_that_is_closed_before_its_head_comes_hangs_up_at_once() -> None:
    gone = threading.Event()

    def answers(*_: Any) -> Any:
        gone.wait(30)
        return GOOD

    with serving(answers) as served:
        stream = engine(served, timeout_s=60.0).chat(ASKED, (), Sampling())
        ended = read_elsewhere(stream)
        deadline = time.monotonic() + 20
        while not served.asked and time.monotonic() < deadline:
            time.sleep(0.01)
        stream.close()  # type: ignore[attr-defined]
        assert ended.wait(5)
        gone.set()
        assert len(served.asked) == 1  # nothing was asked again


def test_a_refusal_leaves_its_connection_to_the_next_request() -> None:
    with serving(
        lambda _, number: Reply(b"busy", 429) if number == 1 else GOOD, keep_alive=True
    ) as far:
        asked = engine(far, retries=2)
        first = asked.chat(ASKED, (), Sampling())
        assert len(list(first)) == 3
        assert (len(far.asked), far.connections) == (2, 1)
        first.close()  # type: ignore[attr-defined]
        [line] = asked.remote._outbound._idle
        assert line.is_idle()
        assert len(list(asked.chat(ASKED, (), Sampling()))) == 3
        assert far.connections == 1


def test_a_connection_serves_many_requests_and_a_dropped_one_is_replaced() -> None:
    with serving(lambda *_: GOOD, keep_alive=True) as served:
        asked = engine(served)
        for _ in range(5):
            list(asked.chat(ASKED, (), Sampling()))
        assert served.connections == 1
        for line in asked.remote._outbound._idle:
            line._raw.shutdown(2)
        assert len(list(asked.chat(ASKED, (), Sampling()))) == 3
        assert served.connections == 2
    with serving(lambda *_: said("ab"), keep_alive=True) as served:
        asked = engine(served, timeout_s=2.0)
        for _ in range(5):
            assert len(list(asked.chat(ASKED, (), Sampling()))) == 2
        assert served.connections == 1


TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "finds",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
}
CALL = ToolCall("c1", "find", '{"q":"x"}')


def test_calls_of_tools_are_put_together() -> None:
    parts = [
        [{"index": 0, "id": "c1", "function": {"name": "find", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"q":'}}],
        [{"index": 0, "function": {"arguments": '"x"}'}}],
    ]
    chunks = [delta(tool_calls=part) for part in parts]
    with serving(lambda *_: streamed(*chunks, delta(finish="tool_calls"))) as served:
        text, end = heard(served, Sampling(tool_choice="find"), [TOOL])
    assert (text, end.calls) == ("", (CALL,))
    assert served.asked[0]["tools"] == [TOOL]
    assert served.asked[0]["tool_choice"] == {"type": "function", "function": {"name": "find"}}


def test_log_probabilities_come_with_their_pieces() -> None:
    told = [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}]
    chunk = delta("a", choice={"logprobs": {"content": told}})
    with serving(lambda *_: streamed(chunk, delta(finish="stop"))) as served:
        first = next(iter(engine(served).chat(ASKED, (), Sampling(logprobs=1))))
    assert isinstance(first, Piece)
    assert first.token is not None
    assert (first.token.logprob, first.top[0].text) == (-0.5, "b")


def test_what_a_protocol_has_no_word_for_is_refused() -> None:
    with serving(lambda *_: GOOD) as served:
        for protocol, sampling in (
            ("openai", Sampling(logit_bias={1: 2.0})),
            ("openai", Sampling(choices=("a",))),
            ("anthropic", Sampling(logprobs=1)),
            ("anthropic", Sampling(presence_penalty=1.0)),
            ("anthropic", Sampling(json_object=True)),
            ("anthropic", Sampling(reasoning_effort="low")),
        ):
            with pytest.raises(
                (UsageError, Exception), match=r"logit|closed|logprobs|does not support"
            ):
                heard(served, sampling, protocol=protocol)
    assert served.asked == []


def blocks(*events: dict[str, Any]) -> Iterator[dict[str, Any] | bytes]:
    for event in events:
        yield f"event: {event['type']}\n".encode()
        yield event


ANTHROPIC = (
    {
        "type": "message_start",
        "message": {"usage": {"input_tokens": 4, "cache_read_input_tokens": 3, "output_tokens": 1}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ab"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "c1", "name": "find", "input": {}},
    },
    *(
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": part},
        }
        for part in ('{"q":', '"x"}')
    ),
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use"},
        "usage": {"output_tokens": 9},
    },
    {"type": "message_stop"},
)
TALK = [
    Message("system", "be brief"),
    Message("user", "hi"),
    Message("assistant", "", tool_calls=(CALL,)),
    Message("tool", "found", tool_call_id="c1"),
    Message("user", "and?"),
]


def test_anthropics_protocol_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAR_KEY", KEY)
    with serving(lambda *_: streamed(*blocks(*ANTHROPIC), done=False)) as served:
        asked = engine(served, protocol="anthropic", key_env="FAR_KEY")
        *pieces, end = asked.chat(TALK, [TOOL], Sampling(tool_choice="required", stop=("s",)))
    assert pieces == [Piece("ab")]
    assert end == End("stop", 7, 9, 3, None, (CALL,), "remote:far/big-1")
    assert served.paths == ["/v1/messages"]
    assert served.heads[0]["x-api-key"] == KEY
    assert served.heads[0]["anthropic-version"] == "2023-06-01"
    assert served.keys == [None]
    call = {"type": "tool_use", "id": "c1", "name": "find", "input": {"q": "x"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "found"}
    assert served.asked[0] == {
        "model": "big-1",
        "system": "be brief",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result, {"type": "text", "text": "and?"}]},
        ],
        "max_tokens": 4096,
        "temperature": 0.0,
        "stop_sequences": ["s"],
        "tools": [
            {
                "name": "find",
                "description": "finds",
                "input_schema": TOOL["function"]["parameters"],  # type: ignore[index]
            }
        ],
        "tool_choice": {"type": "any"},
        "stream": True,
    }


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (ANTHROPIC[:-1], "was cut"),
        (
            (
                ANTHROPIC[0],
                {"type": "error", "error": {"type": "overloaded_error", "message": "o"}},
            ),
            "far: o",
        ),
        (({"type": "message_start"},), "malformed"),
        (({"type": "content_block_delta", "index": 4, "delta": {}},), "malformed"),
    ],
)
def test_anthropics_protocol_odd(events: tuple[dict[str, Any], ...], reason: str) -> None:
    with (
        serving(lambda *_: streamed(*blocks(*events), done=False)) as served,
        pytest.raises(ModelError, match=reason),
    ):
        heard(served, protocol="anthropic", retries=0)


def _token(text: str, probability: float) -> dict[str, Any]:
    return {"token": text, "logprob": math.log(probability), "bytes": list(text.encode())}


@pytest.mark.parametrize(
    ("reply", "sure"),
    [
        (
            streamed(
                delta("a", choice={"logprobs": {"content": [_token("a", 0.5)]}}),
                delta("b", choice={"logprobs": {"content": [_token("b", 0.5)]}}),
                delta(finish="stop"),
            ),
            (math.log(0.25), 2),
        ),
        (
            streamed(
                delta("a", choice={"logprobs": {"content": [_token("a", 0.5)]}}),
                delta("b"),  # a part that nothing is told of
                delta(finish="stop"),
            ),
            (None, None),
        ),
        (GOOD, (None, None)),
        (
            said("ab", logprobs={"content": [_token("a", 0.5), _token("b", 0.5)]}),
            (math.log(0.25), 2),  # it cannot stream
        ),
        (said("ab"), (None, None)),
    ],
    ids=["told", "in part", "untold", "whole", "whole, untold"],
)
def test_how_sure_an_answer_is_comes_with_its_end(
    reply: Reply, sure: tuple[float | None, int | None]
) -> None:
    with serving(lambda *_: reply) as served:
        *pieces, end = engine(served).chat(ASKED, (), Sampling(confidence=True))
    assert served.asked[0]["logprobs"] is True
    assert served.asked[0]["top_logprobs"] == 0
    # What was not asked for is not told.
    assert all(isinstance(piece, Piece) and piece.token is None for piece in pieces)
    assert isinstance(end, End)
    assert (end.logprob, end.scored_tokens) == (
        pytest.approx(sure[0]) if sure[0] else None,
        sure[1],
    )


def test_a_secret_in_a_header_is_not_repeated_by_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "tok-7f3e9a1c-in-a-header")

    def rule(*_: Any) -> Reply:
        return refused(400, f"no access for {served.heads[-1]['x-gateway']}")

    with serving(rule) as served, pytest.raises(ModelError) as caught:
        heard(served, headers={"X-Gateway": "Bearer ${GATEWAY_TOKEN}"}, retries=0)
    assert "tok-7f3e9a1c" not in str(caught.value)
    assert "no access for" in str(caught.value)


def test_a_value_that_is_out_of_range_costs_nobody_else_the_parameter() -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        if body.get("temperature", 0) > 1:
            return refused(400, "no", param="temperature", code="decimal_above_max_value")
        return GOOD

    with serving(rule) as served:
        far = engine(served)
        for temperature in (1.5, 0.5):
            list(far.chat(ASKED, (), Sampling(temperature=temperature)))
    assert [body.get("temperature") for body in served.asked] == [1.5, None, 0.5]
