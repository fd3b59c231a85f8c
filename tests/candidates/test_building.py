"""What a builder gets: answers that somebody disliked are neither shown nor measured by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.candidates.test_distill import TRAIN, context_of

from assay.agent.agent import Agent
from assay.errors import DataError
from assay.evaluate.measure import Bench, Measurement


def test_disliked_answers_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = replace(TRAIN[1], desirable=False)
    context = replace(context_of(tmp_path, {}), train=(TRAIN[0], bad), validation=(bad, TRAIN[2]))
    assert context.answered == (TRAIN[0],)
    seen: list[object] = []

    def measure(
        self: Bench, agent: Agent, examples: object, *, with_confidence: bool = False
    ) -> Measurement:
        seen.append(examples)
        return Measurement([], {}, {}, [], "exact")

    monkeypatch.setattr(Bench, "measure", measure)
    context.measure(Agent(model="x"))
    assert seen == [(TRAIN[2],)]
    with pytest.raises(DataError, match="every validation row is rated thumbs down"):
        replace(context, validation=(bad,)).measure(Agent(model="x"))
    with pytest.raises(DataError, match="every training row is rated thumbs down"):
        _ = replace(context, train=(bad,)).answered
