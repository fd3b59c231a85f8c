"""`/v1/responses`, through the unmodified client."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from tests.serve.running import STARTER, Running
from tests.serve.test_chat import CALL

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


def test_a_text(server: Running) -> None:
    made = server.client().responses.create(
        model=STARTER, input="hello there", instructions="Be brief.", max_output_tokens=9
    )
    assert made.output_text == "hello there"
    assert made.status == "completed"
    assert made.usage is not None
    assert made.usage.output_tokens == 2
    messages, _, sampling = server.engine.asked[0]
    assert [m.role for m in messages] == ["system", "user"]
    assert sampling.max_new_tokens == 9


def test_cut_short(server: Running) -> None:
    made = server.client().responses.create(model=STARTER, input="a b c", max_output_tokens=2)
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"


def test_events(server: Running) -> None:
    events = list(server.client().responses.create(model=STARTER, input="a b", stream=True))
    assert [e.type for e in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [e.sequence_number for e in events] == list(range(10))


def test_logprobs(server: Running) -> None:
    made: Any = server.client().responses.create(model=STARTER, input="a b", top_logprobs=1)
    assert [t.token for t in made.output[0].content[0].logprobs] == ["a", " b"]


def test_the_clients_own_accumulation(server: Running) -> None:
    with server.client().responses.stream(model=STARTER, input="a b c") as stream:
        whole = stream.get_final_response()
    assert whole.output_text == "a b c"


class Person(BaseModel):
    name: str
    age: int


def test_structured_outputs(server: Running) -> None:
    server.engine.script = lambda *_: '{"name": "Ann", "age": 7}'
    made = server.client().responses.parse(model=STARTER, input="who?", text_format=Person)
    assert made.output_parsed == Person(name="Ann", age=7)
    assert server.engine.asked[0][2].schema is not None
    server.engine.script = lambda *_: '{"name": "weather", "arguments": {"city": "Oslo"}}'
    called = server.client().responses.parse(
        model=STARTER, input="who?", text_format=Person, tools=[WEATHER], tool_choice="required"
    )  # a forced call is the whole answer: the form is of its text, and there is none
    assert [item.type for item in called.output] == ["function_call"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_function_is_called_and_answered(server: Running, stream: bool) -> None:
    server.engine.script = lambda *_: CALL
    client = server.client().responses
    if stream:
        with client.stream(model=STARTER, input="Oslo?", tools=[WEATHER]) as events:
            made: Any = events.get_final_response()
    else:
        made = client.create(model=STARTER, input="Oslo?", tools=[WEATHER])
    [call] = made.output
    assert (call.type, call.name, call.arguments) == (
        "function_call",
        "weather",
        '{"city": "Oslo"}',
    )
    server.engine.script = lambda messages, *_: messages[-1].content
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    turns: Any = [{"role": "user", "content": "Oslo?"}, *made.output, result]
    made = client.create(model=STARTER, input=turns, tools=[WEATHER])
    assert made.output_text == "sunny"
    asked = server.engine.asked[-1][0]
    assert [m.role for m in asked] == ["user", "assistant", "tool"]
    assert asked[1].tool_calls[0].name == "weather"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"reasoning": {"effort": "low"}}, "reasoning"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": []}, "input"),
        ({"truncation": "auto"}, "truncation"),
        ({"model": "gpt-4o"}, "model"),
    ],
)
def test_what_is_refused_is_named(server: Running, body: dict[str, Any], param: str) -> None:
    with server.http() as http:
        told = http.post("/v1/responses", json={"model": STARTER, "input": "a", **body})
    assert told.status_code in (400, 404)
    assert told.json()["error"]["param"] == param


def test_an_error_in_the_middle_is_an_event(server: Running) -> None:
    def breaks(*_: Any) -> Any:
        from assay.generate.stream import Piece

        yield Piece("a")
        raise RuntimeError("secret insides")

    server.engine._say = breaks  # type: ignore[method-assign]
    events = list(server.client().responses.create(model=STARTER, input="a", stream=True))
    assert events[-1].type == "error"
    assert "secret" not in events[-1].message
