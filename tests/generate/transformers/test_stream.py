"""Answers one at a time: what is chosen on the device, and read while the next pass is computed."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch
from tests.generate.tiny import tiny_engine
from tests.waiting import waits

from assay.generate.stream import End, Piece, Sampling
from assay.generate.transformers.stream import TransformersStreamEngine
from assay.prefix.plain import PlainDecoder

PROMPT = [70, 71, 72, 73]
READING = "assay.generate.transformers.stream._generate"
PASS = "the next pass begins"
SAMPLINGS = [
    Sampling(24),
    Sampling(24, logprobs=0),
    Sampling(24, 1.3, seed=3, confidence=True),
    Sampling(24, 0.8, 0.7, seed=4, logprobs=2),
    Sampling(24, 1.5, 0.9, seed=5, presence_penalty=0.4, frequency_penalty=0.7),
    Sampling(24, presence_penalty=1.0, logit_bias={70: 3.0, 258: -100.0, 10**6: 9.0}, logprobs=3),
    Sampling(24, stop=("a",), confidence=True, logit_bias={97: 2.0}),
]


def _engine(ahead: bool) -> TransformersStreamEngine:
    batch = tiny_engine(stops=12)
    loaded = batch.loaded
    engine = TransformersStreamEngine(
        lambda: loaded, batch.template, loaded.tokenizer, loaded.context_length
    )
    engine._load()
    engine.ahead = ahead
    return engine


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_an_answer_is_what_is_written_out_here(sampling: Sampling) -> None:
    waiting, early = (list(_engine(ahead).complete(PROMPT, sampling)) for ahead in (False, True))
    assert early == waiting
    engine = _engine(ahead=True)
    model, tokens, chance = engine._load(), list[int](), random.Random(sampling.seed)
    logprob, told = 0.0, list[tuple[float, list[int]]]()
    while len(tokens) < 24 and not engine.template.stop_ids & set(tokens):
        with torch.inference_mode():
            logits = model(torch.tensor([PROMPT + tokens])).logits[0, -1].float()
        token = _draw(logits, tokens, sampling, chance)
        logs = logits.double().log_softmax(-1)
        told.append((float(logs[token]), logs.topk(sampling.logprobs or 0).indices.tolist()))
        tokens.append(token)
        logprob += 0 if token in engine.template.stop_ids else float(logits.log_softmax(-1)[token])
        text = engine._tokenizer.decode(tokens)
        if any(stop in text for stop in sampling.stop):
            break
    *pieces, end = early
    assert isinstance(end, End)
    kept = tokens[:-1] if tokens[-1] in engine.template.stop_ids else tokens
    text = engine._tokenizer.decode(kept, skip_special_tokens=True)
    for stop in sampling.stop:
        text = text.partition(stop)[0]
    assert "".join(p.text for p in pieces if isinstance(p, Piece)) == text
    assert end.completion_tokens == len(tokens)
    if sampling.logprobs is not None:
        shown = [p for p in pieces if isinstance(p, Piece) and p.token]
        assert [[t.id for t in p.top] for p in shown] == [best for _, best in told]
        logs = [p.token.logprob for p in shown if p.token]
        assert logs == pytest.approx([own for own, _ in told], abs=1e-4)
    if sampling.confidence:
        assert end.logprob == pytest.approx(logprob, abs=1e-4)


def _draw(logits: Any, tokens: list[int], sampling: Sampling, chance: random.Random) -> int:
    scores = logits.double()
    for token, bias in sampling.logit_bias.items():
        if token < len(scores):
            scores[token] += bias
    for token, count in Counter(tokens).items():
        scores[token] -= sampling.presence_penalty + count * sampling.frequency_penalty
    if sampling.temperature <= 0:
        return int(scores.argmax())
    weights, order = torch.softmax(scores / sampling.temperature, -1).sort(descending=True)
    kept = weights[weights.cumsum(0) - weights < sampling.top_p]
    place = torch.searchsorted(kept.cumsum(0), chance.random() * float(kept.sum()), right=True)
    return int(order[min(int(place), len(kept) - 1)])


def test_an_answer_that_is_closed_while_the_model_is_loaded_is_not_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = _engine(ahead=True)
    load, begun = engine._load, list[Any]()
    stream: Any = engine.complete(PROMPT, Sampling(4))

    def closed_meanwhile() -> Any:
        stream.close()
        return load()

    monkeypatch.setattr(engine, "_load", closed_meanwhile)
    monkeypatch.setattr(PlainDecoder, "begin", lambda self, batch: begun.append(batch))
    assert list(stream) == []
    assert begun == []


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("sampling", SAMPLINGS[:6])
def test_a_token_is_one_wait_while_the_next_pass_is_computed(
    sampling: Sampling, ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _waits(_engine(ahead), sampling, monkeypatch)
    passes = found.count(PASS)
    assert passes
    pair = [PASS, READING] if ahead else [READING, PASS]
    assert found[: 2 * passes] == pair * passes
    assert found[2 * passes :] in ([], [READING])  # at its limit no pass follows


def test_a_grammar_needs_the_token_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _waits(_engine(ahead=True), Sampling(choices=("aaaa",)), monkeypatch)
    assert [wait for wait in found if wait in (PASS, READING)] == [READING, PASS] * 4 + [READING]


def _waits(
    engine: TransformersStreamEngine, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    engine._load()
    step = PlainDecoder.step
    with waits() as found:

        def noted(self: PlainDecoder, rows: Any, tokens: Any) -> Any:
            found.append(PASS)
            return step(self, rows, tokens)

        monkeypatch.setattr(PlainDecoder, "step", noted)
        list(engine.complete(PROMPT, sampling))
    return found
