"""What must never break in generation, on random float32 models.

Each of these was seen to fail when the code was broken on purpose.
"""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.generate.tiny import ask, tiny_engine

from assay.generate.batch import Answer, Request
from assay.generate.transformers.batch import TransformersBatchEngine

SYSTEMS = (
    "",
    "Everybody is asked below this system prompt, which is long enough to be shared by many.",
    "Everybody is asked below this system prompt, which is another one, and is shared as well.",
)
SHOWN = ((), ("first shown example", "second shown example"), ("another example, shown to some",))
STOPS = 12
CHOICES = ("card", "card_arrival", "cash", "größe")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a b", "c"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 2},
    },
    "required": ["kind", "count", "names"],
    "additionalProperties": False,
}
FAMILIES = ("llama", "mistral", "gemma2", "qwen3")


@cache
def shared(family: str) -> TransformersBatchEngine:
    return tiny_engine(family, stops=STOPS)


@cache
def whole(family: str) -> TransformersBatchEngine:
    return tiny_engine(family, stops=STOPS, share=False)


@st.composite
def requests(draw: st.DrawFn, **fixed: Any) -> Request:
    fields: dict[str, Any] = {
        "temperature": draw(st.sampled_from([0.0, 0.0, 1.0])),
        "seed": draw(st.integers(0, 99)),
        "max_new_tokens": draw(st.integers(1, 10)),
        "choices": draw(st.sampled_from([None, None, CHOICES])),
    }
    return ask(
        draw(st.text("abc ", min_size=1, max_size=25)),
        system=draw(st.sampled_from(SYSTEMS)),
        shown=draw(st.sampled_from(SHOWN)),
        **{**fields, **fixed},
    )


def same(a: Answer, b: Answer) -> None:
    """Equal in every part, the log-probability up to float32 rounding."""
    assert (a.text, a.finish, a.prompt_tokens, a.completion_tokens, a.error) == (
        b.text,
        b.finish,
        b.prompt_tokens,
        b.completion_tokens,
        b.error,
    )
    assert a.logprob == pytest.approx(b.logprob, abs=1e-3)


@given(st.sampled_from(FAMILIES), st.lists(requests(), min_size=1, max_size=9), st.randoms())
@settings(max_examples=25, deadline=None)
def test_an_answer_depends_on_nothing_else_that_is_asked(
    family: str, asked: list[Request], chance: random.Random
) -> None:
    """Not on the order, nor the batch, nor earlier calls, nor the size of batches."""
    engine = shared(family)
    together = engine.answer(asked)
    order = list(range(len(asked)))
    chance.shuffle(order)
    for place, answer in zip(order, engine.answer([asked[i] for i in order]), strict=True):
        same(answer, together[place])
    alone = chance.choice(order)
    same(engine.answer([asked[alone]])[0], together[alone])
    small = TransformersBatchEngine(engine.loaded, engine.template, device="cpu", batch_tokens=90)
    for answer, expected in zip(small.answer(asked), together, strict=True):
        same(answer, expected)


@given(st.sampled_from(FAMILIES), st.lists(requests(), min_size=1, max_size=9))
@settings(max_examples=25, deadline=None)
def test_shared_prefixes_change_no_answer(family: str, asked: list[Request]) -> None:
    for ours, plain in zip(shared(family).answer(asked), whole(family).answer(asked), strict=True):
        same(ours, plain)


@given(st.sampled_from(FAMILIES), st.lists(requests(), min_size=1, max_size=9))
@settings(max_examples=25, deadline=None)
def test_tokens_that_are_read_late_change_no_answer(family: str, asked: list[Request]) -> None:
    for engine in (shared(family), whole(family)):
        late = TransformersBatchEngine(
            engine.loaded, engine.template, device="cpu", share=engine.sharing
        )
        late.ahead = True
        for ours, plain in zip(late.answer(asked), engine.answer(asked), strict=True):
            same(ours, plain)


@given(st.lists(requests(max_new_tokens=30, choices=None), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_nothing_follows_a_stop_token(asked: list[Request]) -> None:
    """The answer with all stops is a prefix of the answer without them, cut at the first one."""
    engine = shared("llama")
    endless = TransformersBatchEngine(engine.loaded, _without_stops(engine), device="cpu")
    stop_texts = {engine.loaded.tokenizer.decode([stop]) for stop in engine.template.stop_ids}
    for answer, unending in zip(engine.answer(asked), endless.answer(asked), strict=True):
        assert unending.finish == "length"
        assert unending.completion_tokens == 30
        assert answer.completion_tokens is not None
        if answer.finish == "length":
            assert answer.completion_tokens == 30
        assert not any(text and text in answer.text for text in stop_texts)
        assert _printable(unending.text).startswith(_printable(answer.text))


def _printable(text: str) -> str:
    """The text up to the first byte that is no whole character: a cut may fall inside one."""
    return text.split("\ufffd")[0]


def _without_stops(engine: TransformersBatchEngine) -> Any:
    class Endless:
        stop_ids: frozenset[int] = frozenset({10**6})  # no token
        sha256 = "endless"
        prompt = engine.template.prompt

    return Endless()


@given(st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=6))
@settings(max_examples=15, deadline=None)
def test_a_seed_gives_the_same_answer_whatever_the_seeds_of_others(
    seed: int, others: list[int]
) -> None:
    engine = shared("llama")
    mine = ask("tell me", system=SYSTEMS[1], temperature=1.5, seed=seed, max_new_tokens=8)
    alone = engine.answer([mine])[0]
    crowd = [
        ask("tell me", system=SYSTEMS[1], temperature=1.5, seed=s, max_new_tokens=8) for s in others
    ]
    same(engine.answer([*crowd, mine])[-1], alone)


def test_different_seeds_give_different_answers() -> None:
    asked = [ask("tell me", temperature=1.5, seed=seed, max_new_tokens=8) for seed in range(12)]
    assert len({a.text for a in shared("llama").answer(asked)}) > 6


@given(st.lists(requests(schema=SCHEMA, choices=None, max_new_tokens=120), min_size=1, max_size=6))
@settings(max_examples=10, deadline=None)
def test_a_constrained_answer_that_ended_always_follows_its_schema(asked: list[Request]) -> None:
    for answer in tiny_engine().answer(asked):
        assert answer.finish == "stop"
        value = json.loads(answer.text)
        jsonschema.validate(value, SCHEMA)
        assert json.dumps(value, ensure_ascii=False) == answer.text or "\\" in answer.text


@given(st.lists(requests(choices=CHOICES, max_new_tokens=20), min_size=1, max_size=8))
@settings(max_examples=10, deadline=None)
def test_a_choice_is_always_one_of_the_choices(asked: list[Request]) -> None:
    for answer in tiny_engine().answer(asked):
        assert answer.text in CHOICES
        assert answer.finish == "stop"


def test_a_prefix_is_run_through_the_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine()
    counted: list[int] = []
    embed = engine.model.get_input_embeddings()
    embed.register_forward_hook(lambda module, given, out: counted.append(given[0].numel()))
    asked = [ask(f"{i}", system=SYSTEMS[1], max_new_tokens=1) for i in range(20)]
    engine.answer(asked)
    lengths = [engine.prompt_length(request) for request in asked]
    ids = [engine.template.prompt(request.messages) for request in asked]
    common = next(i for i in range(min(lengths)) if len({tuple(p[: i + 1]) for p in ids}) > 1)
    assert sum(counted) == common + sum(length - common for length in lengths)
    counted.clear()
    engine.answer(asked[:3])
    assert sum(counted) == sum(length - common for length in lengths[:3])
