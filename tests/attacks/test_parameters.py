"""One caller's request must not change what a provider is sent for the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.generate.remote.provider import (
    KEY,
    ProviderServer,
    Reply,
    delta,
    refused,
    serving,
    streamed,
)

from assay.errors import ModelError
from assay.example import Message
from assay.generate.remote.stream import RemoteStreamEngine
from assay.generate.stream import End, Sampling

ASKED = [Message("user", "x")]
GOOD = streamed(delta("fine"), delta(finish="stop"))
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("temperature", "seed", "max_completion_tokens", "stream_options", "logprobs")
]


def engine(served: ProviderServer, **fields: Any) -> RemoteStreamEngine:
    provider = served.provider(retries=0, **fields)
    return RemoteStreamEngine("far", "m", provider, key=lambda: KEY, backoff_s=0.01)


def ask(far: RemoteStreamEngine, sampling: Sampling, tools: Any = ()) -> End:
    *_, end = far.chat(ASKED, tools, sampling)
    assert isinstance(end, End)
    return end


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "message",
    [
        "Invalid tool {name!r}: 'parameters' must have properties.",
        "{name}: is no function",
        "Unsupported parameter: '{name}'",
    ],
)
def test_a_tool_called_as_a_parameter_changes_nothing_for_others(
    protocol: str, message: str
) -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        if body.get("tools"):
            tool = body["tools"][0]
            name = tool.get("name") or tool["function"]["name"]
            return refused(400, message.format(name=name))
        return GOOD

    sampling = Sampling(max_new_tokens=7, temperature=0.5, seed=1)
    with serving(rule) as served:
        far = engine(served, protocol=protocol)
        for tool in TOOLS:
            with pytest.raises(ModelError):
                ask(far, sampling, [tool])
        served.asked.clear()
        if protocol == "openai":
            ask(far, sampling)
        else:
            with pytest.raises(ModelError):  # this server answers in OpenAI's form
                ask(far, sampling)
    [body] = served.asked
    assert body["temperature"] == 0.5
    assert body["max_tokens"] == 7
    if protocol == "openai":
        assert body["seed"] == 1
        assert body["stream_options"] == {"include_usage": True}


def test_a_refusal_that_a_retry_does_not_confirm_is_not_remembered() -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        return (
            refused(400, "no", param="seed", code="unsupported_parameter")
            if body.get("tools")
            else GOOD
        )

    with serving(rule) as served:
        far = engine(served)
        with pytest.raises(ModelError):
            ask(far, Sampling(temperature=1.0, seed=1), TOOLS[:1])
        ask(far, Sampling(temperature=1.0, seed=2))
    assert [body.get("seed") for body in served.asked] == [1, None, 2]


def test_a_confirmed_refusal_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        return (
            refused(400, "no", param="seed", code="unsupported_parameter")
            if "seed" in body
            else GOOD
        )

    now = 1000.0
    monkeypatch.setattr("assay.generate.remote.model.monotonic", lambda: now)
    with serving(rule) as served:
        far = engine(served)
        for number in range(3):
            if number == 2:
                now += 24 * 3600
            ask(far, Sampling(temperature=1.0, seed=number))
    assert [body.get("seed") for body in served.asked] == [0, None, None, 2, None]


def test_a_refused_value_is_left_out_where_it_is_that_value() -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        return (
            GOOD
            if body.get("temperature", 1) == 1
            else refused(400, "no", param="temperature", code="unsupported_value")
        )

    with serving(rule) as served:
        far = engine(served)
        for temperature in (0.3, 1.0, 0.3):
            ask(far, Sampling(temperature=temperature))
    assert [body.get("temperature") for body in served.asked] == [0.3, None, 1.0, None]


def test_a_budget_rests_on_a_limit_that_no_reply_takes_away() -> None:
    """An endpoint that ignores `max_completion_tokens` would answer without end."""

    def rule(body: dict[str, Any], _: int) -> Reply:
        if "max_tokens" in body and body["temperature"] == 0.25:
            return refused(400, "no", param="max_tokens", code="unsupported_parameter")
        return GOOD

    with serving(rule) as served:
        far = engine(served)
        ask(far, Sampling(max_new_tokens=7, temperature=0.25))  # without a budget: its other name
        with pytest.raises(ModelError):
            ask(far, Sampling(max_new_tokens=7, temperature=0.25, at_most_once=True))
        served.asked.clear()
        ask(far, Sampling(max_new_tokens=7, temperature=0.5, at_most_once=True))
    assert served.asked[0]["max_tokens"] == 7
    assert "max_completion_tokens" not in served.asked[0]


def test_the_name_of_the_limit_is_set_up() -> None:
    with serving(lambda *_: GOOD) as served:
        far = engine(served, limit="max_completion_tokens")
        ask(far, Sampling(max_new_tokens=7, at_most_once=True))
    assert served.asked[0]["max_completion_tokens"] == 7
    assert "max_tokens" not in served.asked[0]


def test_parameters_are_left_out_by_the_set_up_or_by_the_place_that_pydantic_names() -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        if "seed" not in body:
            return GOOD
        problem = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "no"}
        return Reply(json.dumps({"detail": [problem]}).encode(), 422)

    sampling = Sampling(temperature=0.5, seed=1)
    with serving(rule) as served:
        ask(engine(served), sampling)
        ask(engine(served, leave_out=["seed", "temperature"]), sampling)
    assert [body.get("seed") for body in served.asked] == [1, None, None]
    assert [body.get("temperature") for body in served.asked] == [0.5, 0.5, None]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 9000,
        b'{"error": "seed"}',
        b'{"error": {"param": {}}}',
        b'{"error": {"param": ["seed"], "code": {"a": 1}}}',
        b'{"detail": ["seed"]}',
        b'{"detail": [{"loc": 1}]}',
        b'{"detail": [{"loc": ["body", "tools", "seed"], "type": "extra_forbidden"}]}',
    ],
)
def test_odd_errors_name_no_parameter(body: bytes) -> None:
    with serving(lambda *_: Reply(body, 400)) as served, pytest.raises(ModelError):
        ask(engine(served), Sampling(temperature=0.5, seed=1))
    assert len(served.asked) == 1


def test_what_is_learned_is_bounded() -> None:
    """A key that sends ever new values fills no memory."""
    from assay.generate.remote.model import MOST_REFUSALS, RefusedParameters
    from assay.generate.remote.wire import RefusedParameter

    known = RefusedParameters()
    for number in range(10 * MOST_REFUSALS):
        known.remember([RefusedParameter("temperature", str(number))])
    assert len(known) <= MOST_REFUSALS
