"""Answers by a GPU against those of the CPU. Skipped, and counted, where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from tests.generate.tiny import ask, tiny_engine

from assay.generate.stream import Piece, Sampling
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.generate.transformers.stream import TransformersStreamEngine

SYSTEM = "You answer in a very few words, whatever you are asked; this is shared by everybody here."

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")


@contextmanager
def no_waits() -> Iterator[None]:
    """Within the block torch raises an error where the host waits for all that the GPU does."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("alone", [True, False])
def test_tokens_are_those_of_the_cpu_and_no_pass_waits(alone: bool) -> None:
    """Greedy, drawn, and by a grammar; drawn again, a lone row too, they are the same."""
    on_cpu = tiny_engine(stops=24)
    asked = [
        ask(f"q{i} " * (1 + i % 3), system=SYSTEM, temperature=float(i % 3), seed=i)
        for i in range(1, 20)
    ]
    asked.append(ask("c", system=SYSTEM, choices=("aaaa", "bbbb")))
    asked = asked[:1] if alone else asked
    wanted = on_cpu.draw(asked)
    engine = TransformersBatchEngine(on_cpu.loaded, on_cpu.template, device="cuda")
    assert engine.ahead
    engine.draw(asked)  # what is compiled or allotted once may wait
    for _ in range(2):
        with no_waits():
            found = engine.draw(asked)
        assert found == wanted


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_a_stream_read_late_is_that_read_at_once_and_no_pass_waits(temperature: float) -> None:
    sampling = Sampling(
        24, temperature, 0.9, seed=3, frequency_penalty=0.5, logit_bias={70: 2.0}, logprobs=2
    )
    answers = []
    for ahead in (False, True):
        batch = tiny_engine()
        engine = TransformersStreamEngine(
            lambda loaded=batch.loaded: loaded,
            batch.template,
            batch.loaded.tokenizer,
            batch.loaded.context_length,
        )
        engine._load()
        assert engine.ahead
        engine.ahead = ahead
        list(engine.complete([70, 71, 72], sampling))  # what is allotted once may wait
        with no_waits():
            pieces = list(engine.complete([70, 71, 72], sampling))
        answers.append([p.token.id for p in pieces if isinstance(p, Piece) and p.token])
    assert answers[0] == answers[1]
