"""The engine over transformers: limits, stops, memory, constraints, what it reports."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.generate.tiny import CONTEXT, ask, tiny_engine

from assay.errors import DataError, ModelError
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.transformers.batch import DRAWN_TOGETHER, TransformersBatchEngine

SYSTEM = "You answer in a very few words, whatever you are asked; this is shared by everybody here."


def test_usage_and_log_probability_are_those_of_the_model_alone() -> None:
    engine = tiny_engine(stops=12)
    requests = [ask(f"question {i} " * (1 + i % 3), system=SYSTEM) for i in range(9)]
    answers = engine.answer(requests)
    assert {a.finish for a in answers} == {"stop", "length"}
    engine.model.set_attn_implementation("eager")
    for request, answer in zip(requests, answers, strict=True):
        prompt = engine.template.prompt(request.messages)
        assert answer.prompt_tokens == len(prompt) == engine.prompt_length(request)
        ids, total = list(prompt), 0.0
        while len(ids) - len(prompt) < request.max_new_tokens:
            with torch.inference_mode():
                logs = engine.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            token = int(logs.argmax())
            ids.append(token)
            if token in engine.template.stop_ids:
                break
            total += float(logs[token])
        new = ids[len(prompt) :]
        assert answer.completion_tokens == len(new)
        assert answer.scored_tokens == len(new) - (answer.finish == "stop")
        assert answer.logprob == pytest.approx(total, abs=1e-4)
        assert (answer.finish == "stop") == (new[-1] in engine.template.stop_ids)
        kept = new[:-1] if answer.finish == "stop" else new
        assert answer.text == engine.loaded.tokenizer.decode(kept, skip_special_tokens=True)


def test_tokens_are_drawn_by_one_number_of_the_rows_own_chance_each() -> None:
    """Inverse of the cumulative distribution in float64, whatever is drawn beside it."""
    engine = tiny_engine(stops=12)
    requests = [
        ask(f"question {i} " * (1 + i % 3), temperature=0.3 + i / 8, seed=i, max_new_tokens=6)
        for i in range(2 * DRAWN_TOGETHER["cpu"] + 1)
    ]
    drawn = engine.draw(requests)
    engine.model.set_attn_implementation("eager")
    for request, one in zip(requests, drawn, strict=True):
        chance, ids = random.Random(request.seed), list(one.prompt)
        for token in one.ids:
            with torch.inference_mode():
                logits = engine.model(torch.tensor([ids])).logits[0, -1].double()
            below = torch.softmax(logits / request.temperature, -1).cumsum(0)
            place = chance.random() * float(below[-1])
            assert token == int(torch.searchsorted(below, place, right=True))
            ids.append(token)


def test_a_request_beyond_the_context_fails_alone() -> None:
    engine = tiny_engine()
    answers = engine.answer([ask("hello"), ask("x" * CONTEXT), ask("hello")])
    assert [a.finish for a in answers] == ["length", "refused", "length"]
    assert answers[0] == answers[2]
    assert answers[1].text == ""
    assert str(CONTEXT) in (answers[1].error or "")


def test_an_answer_ends_with_the_context() -> None:
    engine = tiny_engine()
    empty = engine.prompt_length(ask(""))
    (answer,) = engine.answer([ask("x" * (CONTEXT - empty - 3), max_new_tokens=50)])
    assert (answer.finish, answer.completion_tokens) == ("length", 3)


def test_nothing_asked_nothing_answered() -> None:
    assert tiny_engine().answer([]) == []


def test_out_of_memory_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [ask(f"q{i}", system=SYSTEM, temperature=1.0, seed=i) for i in range(7)]
    requests.append(ask("c", system=SYSTEM, choices=("yes", "no")))
    expected = tiny_engine().answer(requests)
    engine = tiny_engine()
    step = engine._decoder.step

    def short_of_memory(rows: Any, tokens: Any) -> Any:
        if len(tokens) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return step(rows, tokens)

    monkeypatch.setattr(engine._decoder, "step", short_of_memory)
    answers = engine.answer(requests)
    assert [a.text for a in answers] == [a.text for a in expected]


def test_memory_too_short_for_one_request_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine()

    def none_left(batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine._decoder, "begin", none_left)
    with pytest.raises(ModelError, match="not enough memory"):
        engine.answer([ask("a"), ask("b")])


def test_other_failures_of_the_model_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine()

    def broken(batch: Any) -> Any:
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(engine._decoder, "begin", broken)
    with pytest.raises(RuntimeError, match="size mismatch"):
        engine.answer([ask("a"), ask("b")])


def test_after_an_interruption_the_engine_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine()
    requests = [ask(f"q{i}", system=SYSTEM) for i in range(4)]
    expected = engine.answer(requests)
    step = engine._decoder.step

    def interrupted(rows: Any, tokens: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine._decoder, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.answer(requests)
    assert engine.model.config._attn_implementation == "eager"
    monkeypatch.setattr(engine._decoder, "step", step)
    assert engine.answer(requests) == expected


def test_batches_hold_no_more_tokens_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine(batch_tokens=150)
    sizes = []
    begin = engine._decoder.begin

    def noted(batch: Any) -> Any:
        sizes.append(len(batch.members) * batch.slots)
        return begin(batch)

    monkeypatch.setattr(engine._decoder, "begin", noted)
    answers = engine.answer([ask("word " * n, system=SYSTEM) for n in (1, 9, 2, 8, 3, 1, 1)])
    assert len(answers) == 7
    assert len(sizes) > 1
    assert max(sizes) <= 150


def test_messages_that_the_template_refuses_are_the_users_error() -> None:
    engine = tiny_engine()
    engine.loaded.tokenizer.chat_template = "{{ raise_exception('no system turns') }}"
    refusing = TransformersBatchEngine(engine.loaded, _refusing(engine), device="cpu")
    with pytest.raises(DataError, match="no system turns"):
        refusing.answer([Request((Message("system", "a"), Message("user", "b")))])


def _refusing(engine: TransformersBatchEngine) -> Any:
    template = engine.template

    class Refusing:
        stop_ids, sha256 = template.stop_ids, template.sha256

        def prompt(self, messages: Any, tools: Any = ()) -> list[int]:
            raise DataError("the chat template refuses these messages (no system turns).")

    return Refusing()


def test_identity_names_all_that_changes_an_answer() -> None:
    engine = tiny_engine()
    other = tiny_engine("qwen2")
    whole = tiny_engine(share=False)
    assert engine.identity == tiny_engine().identity
    assert engine.identity != other.identity
    assert (engine.identity["prefix"], whole.identity["prefix"]) == ("shared", "whole")
    assert {"dtype", "torch", "transformers", "template", "weights"} <= engine.identity.keys()


def test_an_adapter_is_part_of_the_answer() -> None:
    from peft import LoraConfig, get_peft_model

    engine = tiny_engine()
    plain = engine.answer([ask("hello", system=SYSTEM)])
    torch.manual_seed(0)
    adapted = get_peft_model(
        engine.loaded.model, LoraConfig(target_modules="all-linear", init_lora_weights=False)
    )
    with_adapter = TransformersBatchEngine(
        replace(engine.loaded, model=adapted), engine.template, device="cpu"
    )
    assert with_adapter.sharing
    assert with_adapter.answer([ask("hello", system=SYSTEM)]) != plain
