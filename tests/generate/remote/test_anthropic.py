"""Anthropic's messages, whole, as a comparison asks for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.evaluate.scripted import request
from tests.generate.remote.provider import Reply, refused, serving

from assay.generate.batch import Answer
from assay.generate.remote.batch import RemoteBatchEngine


def whole(content: list[dict[str, Any]], **more: Any) -> Reply:
    tree = {"type": "message", "content": content, "stop_reason": "end_turn", **more}
    return Reply(json.dumps(tree).encode())


def test_answers_and_what_they_used() -> None:
    usage = {
        "input_tokens": 5,
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 1,
        "output_tokens": 3,
    }
    replies = [
        whole([{"type": "thinking", "thinking": "?"}, {"type": "text", "text": "a"}], usage=usage),
        whole([{"type": "text", "text": "b"}], stop_reason="max_tokens"),
        whole([]),
        Reply(b'{"type": "message"}'),
        whole([{"type": "tool_use", "id": "c", "name": "f", "input": {}}]),
        refused(529, "overloaded"),
    ]
    with serving(lambda _, number: replies[number - 1]) as served:
        engine = RemoteBatchEngine(
            "far", "m", served.provider(protocol="anthropic", concurrency=1, retries=0)
        )
        answers = engine.answer([request(c, schema={"type": "object"}) for c in "abcdef"])
    assert answers[0] == Answer("a", "stop", 8, 3, cached_tokens=2)
    assert answers[1] == Answer("b", "length")
    assert answers[2] == Answer("")
    assert answers[3].error == "far: the answer has no message"
    assert answers[4].text == '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    assert answers[5].error == "far: HTTP 529: overloaded"
    form = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert served.asked[0]["output_config"] == form
    assert engine.identity["protocol"] == "anthropic"


def test_a_model_that_takes_no_temperature_is_asked_without() -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        if "temperature" in body:
            return refused(400, "temperature: this model takes none")
        return whole([{"type": "text", "text": "a"}])

    with serving(rule) as served:
        provider = served.provider(protocol="anthropic")
        [answer] = RemoteBatchEngine("far", "m", provider).answer([request("x")])
    assert answer.text == "a"
    assert len(served.asked) == 2


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_where_a_key_goes_can_be_said(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAR_KEY", "secret-1")
    monkeypatch.setenv("ORG", "o-1")
    with serving(lambda *_: refused(400, "no")) as served:
        provider = served.provider(
            protocol=protocol,
            key_env="FAR_KEY",
            key_header="api-key",
            query={"api-version": "2026 01"},
            headers={"X-Org": "${ORG}"},
        )
        RemoteBatchEngine("far", "m", provider).answer([request("x")])
    assert served.heads[0]["api-key"] == "secret-1"
    assert served.heads[0]["x-org"] == "o-1"
    assert "authorization" not in served.heads[0]
    assert served.paths[0].endswith("?api-version=2026+01")
