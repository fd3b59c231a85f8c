"""`/v1/chat/completions`, through the unmodified client."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from assay.errors import ModelError
from assay.generate.stream import BusyError, Piece, PromptTooLongError
from tests.serve.running import PATIENCE_S, STARTER, Running

HELLO: Any = [{"role": "user", "content": "hello there you"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'


def test_an_answer(server: Running) -> None:
    made = server.client().chat.completions.create(model=STARTER, messages=HELLO, n=2)
    assert [c.message.content for c in made.choices] == ["hello there you"] * 2
    assert [c.finish_reason for c in made.choices] == ["stop", "stop"]
    assert made.model == STARTER
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (1, 6)
    assert server.engines.models[-1] == STARTER


def test_what_the_client_says_reaches_the_engine(server: Running) -> None:
    server.client().chat.completions.create(
        model=STARTER,
        messages=[{"role": "developer", "content": "Be brief."}, *HELLO],
        temperature=0.5,
        top_p=0.9,
        seed=7,
        n=2,
        max_completion_tokens=2,
        stop=["a", "b"],
        presence_penalty=1,
        frequency_penalty=-1,
        logit_bias={"12": 3},
        logprobs=True,
        top_logprobs=2,
        user="ann",
        metadata={"a": "b"},
    )
    (messages, _, first), (_, _, second) = server.engine.asked
    assert messages[0].role == "developer"
    assert (first.temperature, first.top_p, first.max_new_tokens) == (0.5, 0.9, 2)
    assert {first.seed, second.seed} == {7, 8}
    assert first.stop == ("a", "b")
    assert (first.presence_penalty, first.frequency_penalty) == (1, -1)
    assert first.logit_bias == {12: 3}
    assert first.logprobs == 2


def test_openais_defaults(server: Running) -> None:
    server.client().chat.completions.create(model=STARTER, messages=HELLO)
    [(_, _, sampling)] = server.engine.asked
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (1.0, 1.0, None)
    assert sampling.max_new_tokens is None
    assert sampling.logprobs is None


def test_cut_short(server: Running) -> None:
    made = server.client().chat.completions.create(model=STARTER, messages=HELLO, max_tokens=2)
    assert made.choices[0].finish_reason == "length"
    assert made.choices[0].message.content == "hello there"


def test_logprobs(server: Running) -> None:
    made = server.client().chat.completions.create(
        model=STARTER, messages=HELLO, logprobs=True, top_logprobs=1
    )
    found = made.choices[0].logprobs
    assert found is not None
    assert found.content is not None
    assert [t.token for t in found.content] == ["hello", " there", " you"]
    assert found.content[1].bytes == list(b" there")
    assert found.content[0].top_logprobs[0].logprob == -0.5


def test_a_stream(server: Running) -> None:
    chunks = list(
        server.client().chat.completions.create(
            model=STARTER,
            messages=HELLO,
            n=2,
            stream=True,
            stream_options={"include_usage": True},
            logprobs=True,
        )
    )
    for number in (0, 1):
        mine = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == number]
        assert mine[0].delta.role == "assistant"
        assert "".join(c.delta.content or "" for c in mine) == "hello there you"
        assert mine[-1].finish_reason == "stop"
        assert sum(c.logprobs is not None for c in mine) == 3
    assert [c.usage is None for c in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 7
    assert len({c.id for c in chunks}) == 1


def test_the_async_client_many_at_once(server: Running) -> None:
    server.engine.pause_s = 0.01

    async def ask(client: openai.AsyncOpenAI, number: int) -> str:
        stream = await client.chat.completions.create(
            model=STARTER, messages=[{"role": "user", "content": f"is {number} it"}], stream=True
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
            return await asyncio.gather(*(ask(client, n) for n in range(40)))

    assert asyncio.run(all_of_them()) == [f"is {n} it" for n in range(40)]


class Person(BaseModel):
    name: str
    age: int


def test_structured_outputs(server: Running) -> None:
    server.engine.script = lambda *_: '{"name": "Ann", "age": 7}'
    made = server.client().chat.completions.parse(
        model=STARTER, messages=HELLO, response_format=Person
    )
    assert made.choices[0].message.parsed == Person(name="Ann", age=7)
    schema = server.engine.asked[0][2].schema
    assert schema is not None
    assert set(schema["properties"]) == {"name", "age"}
    server.client().chat.completions.create(
        model=STARTER, messages=HELLO, response_format={"type": "json_object"}
    )
    assert server.engine.asked[1][2].json_object


def test_a_schema_that_cannot_be_enforced_is_refused(server: Running) -> None:
    form: Any = {"name": "x", "schema": {"not": {"type": "string"}}}
    with pytest.raises(openai.BadRequestError) as caught:
        server.client().chat.completions.create(
            model=STARTER,
            messages=HELLO,
            response_format={"type": "json_schema", "json_schema": form},
        )
    assert caught.value.param == "response_format"
    tool: Any = {"name": "f", "parameters": form["schema"]}
    with pytest.raises(openai.BadRequestError) as forced:
        server.client().chat.completions.create(
            model=STARTER,
            messages=HELLO,
            response_format={"type": "text"},
            tools=[{"type": "function", "function": tool}],
            tool_choice="required",
        )
    assert forced.value.param == "tools"
    assert not server.engine.asked


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_answered(server: Running, stream: bool) -> None:
    server.engine.script = lambda *_: f"Let me see. {CALL}"
    client = server.client()
    if stream:
        with client.chat.completions.stream(
            model=STARTER, messages=HELLO, tools=[WEATHER]
        ) as events:
            made: Any = events.get_final_completion()
    else:
        made = client.chat.completions.create(model=STARTER, messages=HELLO, tools=[WEATHER])
    [choice] = made.choices
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Oslo"}')
    assert choice.message.content.strip() == "Let me see."
    assert server.engine.asked[0][1] == (WEATHER,)
    server.engine.script = lambda messages, *_: f"It is {messages[-1].content}."
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    made = client.chat.completions.create(
        model=STARTER, messages=[*HELLO, choice.message, result], tools=[WEATHER]
    )
    assert made.choices[0].message.content == "It is sunny."
    asked = server.engine.asked[-1][0]
    assert asked[1].tool_calls[0].arguments == '{"city": "Oslo"}'
    assert asked[2].tool_call_id == call.id


def test_tool_choice(server: Running) -> None:
    client = server.client().chat.completions
    client.create(model=STARTER, messages=HELLO, tools=[WEATHER], tool_choice="none")
    assert server.engine.asked[-1][1] == ()
    server.engine.script = lambda *_: '{"name": "weather", "arguments": {"city": "Oslo"}}'
    named: Any = {"type": "function", "function": {"name": "weather"}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    for choice, rest in (("required", {}), (named, {"response_format": form})):
        made = client.create(
            model=STARTER, messages=HELLO, tools=[WEATHER], tool_choice=choice, **rest
        )
        assert made.choices[0].message.tool_calls
        assert made.choices[0].message.content is None
        schema = server.engine.asked[-1][2].schema
        assert schema is not None
        assert schema["properties"]["name"] == {"const": "weather"}


def test_one_call_at_a_time_where_it_is_asked_for(server: Running) -> None:
    server.engine.script = lambda *_: CALL + CALL
    client = server.client().chat.completions
    both = client.create(model=STARTER, messages=HELLO, tools=[WEATHER])
    one = client.create(model=STARTER, messages=HELLO, tools=[WEATHER], parallel_tool_calls=False)
    assert both.choices[0].message.tool_calls is not None
    assert one.choices[0].message.tool_calls is not None
    assert (len(both.choices[0].message.tool_calls), len(one.choices[0].message.tool_calls)) == (
        2,
        1,
    )


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"n": 9}, "n", "invalid_value"),
        ({"stop": ["a"] * 5}, "stop", "invalid_value"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"top_k": 3}, "top_k", "unknown_parameter"),
        ({"verbosity": "low"}, "verbosity", "unsupported_parameter"),
        ({"reasoning_effort": "low"}, "reasoning_effort", "unsupported_parameter"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0]", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"model": "gpt-4o"}, "model", "model_not_found"),
        ({"model": "../etc/passwd"}, "model", "model_not_found"),
    ],
)
def test_what_is_refused_is_named(
    server: Running, body: dict[str, Any], param: str, code: str
) -> None:
    with server.http() as http:
        told = http.post("/v1/chat/completions", json={"model": STARTER, "messages": HELLO, **body})
    assert told.status_code == (404 if code == "model_not_found" else 400)
    error = told.json()["error"]
    assert (error["param"], error["code"]) == (param, code)
    assert error["message"]
    assert not server.engine.asked


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"a": NaN}', b'{"model": "\\ud800"}', b"[" * 100_000, b"\xff"],
)
def test_broken_bodies(server: Running, body: bytes) -> None:
    with server.http() as http:
        headers = {"Content-Type": "application/json"}
        told = http.post("/v1/chat/completions", content=body, headers=headers)
    assert told.status_code == 400
    assert told.json()["error"]["type"] == "invalid_request_error"


def test_errors_of_the_engine_have_their_status(server: Running) -> None:
    client = server.client().chat.completions
    server.engine.error = BusyError("the queue is full.", retry_after_s=3)
    with pytest.raises(openai.RateLimitError) as busy:
        client.create(model=STARTER, messages=HELLO, stream=True)
    assert busy.value.response.headers["Retry-After"] == "3"
    server.engine.error = PromptTooLongError("too long.")
    with pytest.raises(openai.BadRequestError) as long:
        client.create(model=STARTER, messages=HELLO)
    assert long.value.code == "context_length_exceeded"
    server.engine.error = RuntimeError("secret insides")
    with pytest.raises(openai.InternalServerError) as broken:
        client.create(model=STARTER, messages=HELLO)
    assert "secret" not in str(broken.value)
    server.engine.error = ModelError("broken.", where="/srv/secret.gguf", fix="Remove secret.gguf.")
    with pytest.raises(openai.InternalServerError) as unloadable:
        client.create(model=STARTER, messages=HELLO)
    assert unloadable.value.status_code == 503
    assert "secret" not in str(unloadable.value)
    server.engines.missing.add(STARTER)
    with pytest.raises(openai.InternalServerError) as missing:
        client.create(model=STARTER, messages=HELLO)
    assert missing.value.status_code == 503


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_breaks_off_is_an_error_not_a_whole_one(
    server: Running, stream: bool
) -> None:
    server.engine._say = lambda *_: iter([Piece("half an")])  # type: ignore[method-assign]
    body = {"model": STARTER, "messages": HELLO, "stream": stream}
    with server.http() as http:
        told = http.post("/v1/chat/completions", json=body)
    assert told.status_code == (200 if stream else 503)
    assert "ended early" in told.text
    assert "[DONE]" not in told.text


def test_an_error_in_the_middle_of_a_stream_is_told(server: Running) -> None:
    script = server.engine._say

    def breaks(*args: Any) -> Any:
        yield next(script(*args))
        raise BusyError("moved.", 1)

    server.engine._say = breaks  # type: ignore[method-assign]
    stream = server.client().chat.completions.create(model=STARTER, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match=r"moved\."):
        list(stream)


@pytest.mark.parametrize("stream", [False, True])
def test_who_hangs_up_frees_the_slot(server: Running, stream: bool) -> None:
    server.engine.pause_s = 0.02
    long: Any = [{"role": "user", "content": "word " * 500}]
    client = server.client().with_options(timeout=0.3)
    if stream:
        with client.chat.completions.create(model=STARTER, messages=long, stream=True) as events:
            next(iter(events))
            assert server.engine.open == 1
    else:
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model=STARTER, messages=long)
    deadline = time.monotonic() + PATIENCE_S
    while server.engine.open and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.engine.open == 0


def test_watchers_see_what_was_answered(server: Running) -> None:
    seen: list[Any] = []
    server.workspace.watchers.append(seen.append)
    made = server.client().chat.completions.create(model=STARTER, messages=HELLO)
    list(server.client().chat.completions.create(model=STARTER, messages=HELLO, stream=True))
    assert [s.answers for s in seen] == [(("hello there you", ()),)] * 2
    assert seen[0].id == made.id
    assert seen[0].messages[0].content == "hello there you"


@pytest.mark.parametrize("stream", [False, True])
def test_a_watcher_that_fails_takes_no_answer_away(
    server: Running, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Any) -> None:
        raise OSError("the disk is full")

    server.workspace.watchers.append(fails)
    with server.http() as http:
        body = {"model": STARTER, "messages": HELLO, "stream": stream}
        told = http.post("/v1/chat/completions", json=body)
    assert told.status_code == 200
    assert "error" not in told.text
    assert "could not be saved" in caplog.text
