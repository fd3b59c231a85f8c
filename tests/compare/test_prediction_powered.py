"""Unlabelled inputs that a model labels, in a whole comparison on replayed answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.compare.prediction_powered import reason_to_withhold
from assay.compare.result import Result
from assay.errors import DataError
from assay.evaluate.prediction_powered import PredictionPowered, Sample
from assay.project.unlabelled import read_unlabelled
from assay.store.tables import TraceRow
from tests.compare.test_outcomes import chance, replay, write

__all__ = ["replay"]
Replay = Callable[[Mapping[str, float]], None]
SKILL = {"prompt": 0.7, "rag": 0.9, "annotator": 0.97}


def case(number: int, colour: int = 0) -> dict[str, str]:
    return {"question": f"case {number} of the {('red', 'blue')[number % 2 - colour]} file"}


def compare(folder: Path, inputs: list[dict[str, str]], **fields: Any) -> Result:
    (folder / "inputs.jsonl").write_text("\n".join(map(json.dumps, inputs)))
    settings = {"file": "inputs.jsonl", "model": "replay-annotator"}
    made = write(folder, ["prompt", "rag"], 400, unlabelled=settings, **fields)
    return made.compare().result


def test_intervals_become_narrower_and_hold_the_truth(replay: Replay, tmp_path: Path) -> None:
    replay(SKILL)
    fresh = [case(n) for n in range(1000, 3000)]
    result = compare(tmp_path, fresh)
    found = result.prediction_powered
    assert found is not None
    assert found.withheld is None
    assert found.twins + found.unlabelled == 2000
    assert found.annotator_score > 0.9
    of_all = {
        name: sum(chance(f"{name} {row['question']}") < skill for row in fresh) / len(fresh)
        for name, skill in SKILL.items()
    }
    alone = {one.name: one for one in result.candidates}
    for one in found.scores:
        before = alone[one.candidate]
        assert before.high is not None
        assert before.low is not None
        assert one.high - one.low < before.high - before.low
        assert one.worth > found.labelled
        assert one.low < of_all[one.candidate] < one.high
    [pair], [before] = found.pairs, result.pairs
    assert (pair.a, pair.b) == (before.a, before.b)
    assert pair.low < of_all[pair.a] - of_all[pair.b] < pair.high
    assert pair.high - pair.low < before.high - before.low
    assert result.plan.unlabelled >= found.unlabelled


def test_no_interval_where_inputs_and_holdout_cannot_be_held_together() -> None:
    found = PredictionPowered(
        model="m", labelled=100, unlabelled=1000, twins=10, annotator_score=0.9
    )
    rng = np.random.default_rng(0)
    hard, easy = ((rng.random((1000, 1)) < rate).astype(float) for rate in (0.6, 0.9))
    alike, other = Sample(hard[:100]), Sample(hard)
    assert reason_to_withhold(alike, other, found) is None
    assert "look like the holdout" in str(reason_to_withhold(alike, Sample(easy), found))
    assert "labelled rows" in str(reason_to_withhold(Sample(hard[:29]), other, found))
    in_few = Sample(hard[:100], [i // 5 for i in range(100)])
    assert "labelled rows" in str(reason_to_withhold(in_few, other, found))
    assert "inputs" in str(reason_to_withhold(alike, Sample(hard[:99]), found))
    many = found.model_copy(update={"twins": 60})
    assert "60 of 1,060" in str(reason_to_withhold(alike, other, many))


def test_traces_of_a_release_are_inputs(tmp_path: Path) -> None:
    settings = {"release": "support", "model": "replay-annotator"}
    made = write(tmp_path, ["prompt"], 60, unlabelled=settings)
    made.split()
    with pytest.raises(DataError):
        read_unlabelled(made)  # none are kept
    texts = ["case 900 of the red file", "How do I close it?", "case 0 of the red file"]
    with made.store.session() as session:
        for number, text in enumerate(texts):
            turns = [{"role": "user", "content": text}]
            answer = {"role": "assistant", "content": "so"}
            session.add(
                TraceRow(
                    id=f"trace-{number}",
                    project=made.owner,
                    release="support",
                    agent="a" * 64,
                    messages=turns,
                    tools=[],
                    answer=answer,
                    masked=0,
                    sampled=False,
                )
            )
    found = read_unlabelled(made)
    assert found is not None
    assert "How do I close it?" in {example.input for example in found.examples}
    assert all(example.output == "" for example in found.examples)
