"""Schemas that look as if they were followed and are not: too large for a grammar's parser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.generate.llamacpp.server import SERVER, write_tiny
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.serve.running import STARTER, Running, running

from assay.chat.template import Template
from assay.errors import ConfigError, ModelError
from assay.example import Message
from assay.generate import constrained
from assay.generate.batch import Request
from assay.generate.constrained import Constraint, Grammars, check_schema
from assay.generate.llamacpp.engine import AdapterServer, LlamaCppEngine
from assay.generate.stream import Sampling

VOCABULARY = 259


def wide(count: int) -> dict[str, Any]:
    """An object with so many optional properties that the parser's row may overflow."""
    return {"type": "object", "properties": {f"p{n}": {"type": "null"} for n in range(count)},
            "additionalProperties": False}  # fmt: skip


NOT_FOLLOWED = [
    {"const": "a" * 2_000_000},
    {"enum": ["a", "a" * 20_000]},
    wide(700),
    {"type": "object", "properties": {"a": {"type": "array", "items": wide(700), "minItems": 1}},
     "required": ["a"]},
    {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(5000)}},
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.mark.parametrize("schema", NOT_FOLLOWED, ids=range(len(NOT_FOLLOWED)))
def test_what_cannot_be_followed_is_a_400(server: Running, schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        check_schema(schema)
    body: dict[str, Any] = {"model": STARTER, "messages": [{"role": "user", "content": "go"}]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    function = {"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}
    forced = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    with server.http() as client:
        for wish, param in (({"response_format": form}, "response_format"), (forced, "tools")):
            reply = client.post("/v1/chat/completions", json={**body, **wish})
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert not server.engine.asked


def test_what_can_be_followed_is() -> None:
    described = {"type": "string", "description": "a" * 10_000}
    for schema in (wide(300), {"enum": [f"label {n}" for n in range(2000)]}, described):
        check_schema(schema)


@pytest.fixture
def unnoticed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A schema that is too large where no trial has come to."""
    constrained.schema_grammar.cache_clear()
    constrained.byte_matcher.cache_clear()
    monkeypatch.setattr(constrained, "_failure", lambda *_: None)
    monkeypatch.setattr(constrained, "_MOST", {})
    yield wide(700)
    constrained.schema_grammar.cache_clear()
    constrained.byte_matcher.cache_clear()


def test_llamacpp_that_gives_a_grammar_up_gives_no_answer(
    tmp_path: Path, unnoticed: dict[str, Any]
) -> None:
    tokenizer, file = byte_tokenizer(), write_tiny(tmp_path / "tiny.gguf", tiny_model())
    engine = LlamaCppEngine(AdapterServer(file, SERVER, 1 << 30), Template.of(tokenizer), tokenizer)
    sampling = Sampling(max_new_tokens=40, temperature=1.0, seed=1, schema=unnoticed)
    with pytest.raises(ModelError):
        list(engine.chat([Message("user", "Hello")], (), sampling))
    good = Sampling(max_new_tokens=40, temperature=1.0, seed=1, schema=wide(3))
    assert list(engine.chat([Message("user", "Hello")], (), good))


def test_an_engine_here_that_gives_a_grammar_up_gives_no_answer(unnoticed: dict[str, Any]) -> None:
    tokenizer = byte_tokenizer()
    grammars = Grammars(tokenizer, VOCABULARY, frozenset({258}))
    request = Request((Message("user", "Hello"),), schema=unnoticed)
    held = grammars.constraint(request.schema, request.choices)
    assert held is not None
    with pytest.raises(ModelError):
        _write(grammars, held, tokenizer('{"p1').input_ids)


def _write(grammars: Grammars, held: Constraint, ids: list[int]) -> None:
    for token in ids:
        grammars.masks([held], VOCABULARY)
        held.accept(token)
