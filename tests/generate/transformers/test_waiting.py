"""How often decoding would wait for a GPU."""

from __future__ import annotations

from typing import Any

import pytest
from tests.generate.tiny import ask, tiny_engine
from tests.waiting import waits

SYSTEM = "You answer in a very few words, whatever you are asked; this is shared by everybody here."
CHOOSING = "assay.generate.transformers.batch._choose"
DRAWING = "assay.generate.transformers.batch._draw"


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("family", ["llama", "mistral"])  # mistral: behind a sliding window
def test_a_token_of_all_rows_is_one_wait(family: str, share: bool) -> None:
    """The tokens are read; what is known here is not, though rows end and are dropped."""
    asked = [ask(f"q{i} " * (i + 1), system=SYSTEM, max_new_tokens=4 + i) for i in range(5)]
    limits = [request.max_new_tokens for request in asked]
    steps = (
        max(limits) if share else sum(limits)
    )  # unshared, only prompts of one length go together
    assert _waits(tiny_engine(family, share=share), asked) == [CHOOSING] * steps


def test_a_constraint_is_no_further_wait() -> None:
    asked = [ask(f"q{i}", system=SYSTEM, choices=("aaaa", "bbbb")) for i in range(3)]
    found = _waits(tiny_engine(), asked)
    assert found == [CHOOSING] * 5  # four bytes, and the end


def test_to_draw_the_scores_of_all_rows_are_read_at_once() -> None:
    asked = [
        ask(f"q{i}", system=SYSTEM, temperature=float(i % 3), seed=i, max_new_tokens=6)
        for i in range(6)
    ]
    found = [wait for wait in _waits(tiny_engine(), asked) if wait != DRAWING]  # on the CPU
    assert found == [CHOOSING] * 2 * 6


def _waits(engine: Any, asked: list[Any]) -> list[str]:
    with waits() as found:
        engine.answer(asked)
    return found
