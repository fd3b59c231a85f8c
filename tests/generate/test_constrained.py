"""Constrained decoding: what is allowed, what is refused, and how it is spelled."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.generate.tiny import ask, byte_tokenizer, tiny_engine

from assay.errors import ConfigError
from assay.generate import constrained
from assay.generate.batch import Request
from assay.generate.constrained import Grammars, check_schema, choices_grammar

STOP = 258
RECORD = {
    "type": "object",
    "properties": {
        "who": {"type": "string", "maxLength": 6},
        "many": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
    },
    "required": ["who", "many"],
    "additionalProperties": False,
}


def accepts(request: Request, text: str) -> bool:
    """Whether every byte of `text`, then the stop token, is allowed."""
    tokenizer = byte_tokenizer()
    stops = frozenset({tokenizer.eos_token_id})
    grammars = Grammars(tokenizer, 264, stops)
    constraint = grammars.constraint(request.schema, request.choices)
    assert constraint is not None
    for token in tokenizer.encode(text, add_special_tokens=False):
        allowed = grammars.masks([constraint], 264)
        assert allowed is not None
        if not allowed[0, token]:
            return False
        constraint.accept(token)
    allowed = grammars.masks([constraint], 264)
    assert allowed is not None
    return bool(allowed[0, tokenizer.eos_token_id])


def test_json_is_spelled_as_json_dumps_spells_it() -> None:
    request = ask("x", schema=RECORD)
    value = {"who": "Ann", "many": [1, -2]}
    assert accepts(request, json.dumps(value))
    assert not accepts(request, json.dumps(value, separators=(",", ":")))
    assert not accepts(request, json.dumps(value, indent=1))


def test_an_unfinished_record_may_not_stop() -> None:
    assert not accepts(ask("x", schema=RECORD), '{"who": "Ann"')


@pytest.mark.parametrize("text", ["card", "card_arrival", 'a "b"\n', "größe"])
def test_choices_are_allowed_whole(text: str) -> None:
    request = ask("x", choices=("card", "card_arrival", 'a "b"\n', "größe", "card"))
    assert accepts(request, text)
    assert not accepts(request, text + "s")
    assert not accepts(request, text[:-1])


def test_of_choices_there_may_be_thousands() -> None:
    many = tuple(f"{number:x} of a catalogue" for number in range(5000))
    assert accepts(ask("x", choices=many), many[-1])
    assert not accepts(ask("x", choices=many), many[-1][:-1])


def test_tokens_beyond_the_tokenizer_are_never_allowed() -> None:
    grammars = Grammars(byte_tokenizer(), 300, frozenset({STOP}))
    constraint = grammars.constraint(None, ("a",))
    allowed = grammars.masks([None, constraint], 300)
    assert allowed is not None
    assert allowed[0].all()
    assert allowed[1].nonzero()[0].tolist() == byte_tokenizer().encode("a")
    assert grammars.masks([None, None], 300) is None


def test_grammars_that_clients_choose_take_no_end_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constrained, "MOST_KEPT", 3)
    grammars = Grammars(byte_tokenizer(), 264, frozenset({STOP}))
    for number in range(9):
        assert grammars.constraint(None, (f"choice {number}",)) is not None
    assert len(grammars._compiled) == 3


def test_a_constraint_starts_again_from_its_beginning() -> None:
    grammars = Grammars(byte_tokenizer(), 264, frozenset({STOP}))
    constraint = grammars.constraint(None, ("ab",))
    assert constraint is not None
    fresh = grammars.masks([constraint], 264)
    constraint.accept(byte_tokenizer().encode("a")[0])
    constraint.reset()
    assert fresh is not None
    assert (fresh == grammars.masks([constraint], 264)).all()


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "object", "properties": {"a": {"not": {"const": 1}}}}, "`not`"),
        ({"type": "array", "uniqueItems": True}, "`uniqueItems`"),
        ({"type": "string", "format": "nowhere"}, "format: nowhere"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"$ref": "https://example.org/schema"}, "example.org"),
        ({"type": "objekt"}, "objekt"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused_by_name(
    schema: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_schema(schema)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError):
        tiny_engine().answer([ask("x", schema=schema)])


def test_a_schema_that_can_be_followed_passes() -> None:
    check_schema(RECORD)


@pytest.mark.parametrize("choices", [(), ("a", "")])
def test_choices_must_say_something(choices: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="choose"):
        choices_grammar(choices)


def test_an_answer_cut_at_the_limit_is_not_called_finished() -> None:
    (answer,) = tiny_engine().answer([ask("x", schema=RECORD, max_new_tokens=3)])
    assert (answer.finish, answer.completion_tokens) == ("length", 3)
    assert '{"who": "x", "many": []}'.startswith(answer.text)


def test_free_and_constrained_requests_share_a_batch() -> None:
    engine = tiny_engine()
    free, bound = ask("hello"), ask("hello", choices=("yes", "no"))
    mixed = engine.answer([free, bound, free])
    assert mixed[0].text == mixed[2].text == engine.answer([free])[0].text
    assert mixed[1].text in ("yes", "no")
    assert mixed[1].finish == "stop"
