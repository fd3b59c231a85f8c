"""How often decoding would wait for a GPU, and whether the GPU would wait meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from tests.generate.tiny import ask, tiny_engine
from tests.waiting import waits

from assay.generate.transformers.batch import TransformersBatchEngine

SYSTEM = "You answer in a very few words, whatever you are asked; this is shared by everybody here."
READING = "assay.generate.transformers.batch._generate"
PASS = "the next pass begins"


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("family", ["llama", "mistral"])  # mistral: behind a sliding window
def test_a_token_of_all_rows_is_one_wait(family: str, share: bool) -> None:
    """The tokens are read, drawn or not; what is known here is not, though rows end and are
    dropped."""
    asked = [
        ask(
            f"q{i} " * (i + 1),
            system=SYSTEM,
            max_new_tokens=4 + i,
            temperature=float(i % 3),
            seed=i,
        )
        for i in range(5)
    ]
    limits = [request.max_new_tokens for request in asked]
    steps = (
        max(limits) if share else sum(limits)
    )  # unshared, only prompts of one length go together
    found = _waits(tiny_engine(family, share=share), asked)
    assert [wait for wait in found if wait != PASS] == [READING] * steps


@pytest.mark.parametrize("share", [True, False])
def test_tokens_are_read_while_the_next_pass_is_computed(share: bool) -> None:
    """Also while rows come to their limits, which is known before."""
    asked = [
        ask(f"q{i}", system=SYSTEM, max_new_tokens=4 + i, temperature=float(i % 3), seed=i)
        for i in range(6)
    ]
    found = _waits(as_on_a_gpu(tiny_engine(share=share)), asked)
    assert found == [PASS, READING] * 8 + [READING]


def test_a_grammar_needs_a_token_before_the_next_pass() -> None:
    """As long as a row has one; it takes four bytes and the end."""
    asked = [ask(f"q{i}", system=SYSTEM, choices=("aaaa", "bbbb")) for i in range(3)]
    asked.append(ask("plain", system=SYSTEM, max_new_tokens=8))
    found = _waits(as_on_a_gpu(tiny_engine()), asked)
    assert found == [READING, PASS] * 5 + [PASS, READING] * 2 + [READING]


def test_a_row_that_has_ended_is_computed_once_more_at_most() -> None:
    asked = [ask(f"q{i}", system=SYSTEM, temperature=1.0, seed=i) for i in range(12)]
    (waiting, wanted), (early, answers) = (
        _rows_computed(engine, asked)
        for engine in (tiny_engine(stops=100), as_on_a_gpu(tiny_engine(stops=100)))
    )
    assert answers == wanted
    ended = [answer for answer in answers if len(answer.ids) < 12]
    assert len(ended) > 6
    assert early == waiting + len(ended)


def as_on_a_gpu(engine: TransformersBatchEngine) -> TransformersBatchEngine:
    """An engine that reads tokens as it does on a GPU."""
    engine.ahead = True
    return engine


def _rows_computed(engine: Any, asked: list[Any]) -> tuple[int, Any]:
    step, counts = engine._decoder.step, []

    def counted(rows: Any, tokens: Any) -> Any:
        counts.append(len(rows))
        return step(rows, tokens)

    engine._decoder.step = counted
    answers = engine.draw(asked)
    return sum(counts), answers


def _waits(engine: Any, asked: list[Any]) -> list[str]:
    step = engine._decoder.step
    with waits() as found:

        def noted(rows: Any, tokens: Any) -> Any:
            found.append(PASS)
            return step(rows, tokens)

        engine._decoder.step = noted
        engine.answer(asked)
    return found
