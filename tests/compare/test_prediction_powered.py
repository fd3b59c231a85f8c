"""Unlabelled inputs that a model labels, in a whole comparison on replayed answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from assay import project as projects
from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.compare.prediction_powered import reason_to_withhold
from assay.compare.result import Result
from assay.errors import DataError, HoldoutError, OutageError
from assay.evaluate.prediction_powered import PredictionPowered, Sample
from assay.evaluate.run import run
from assay.example import Example, read_examples
from assay.generate.batch import Answer, Request
from assay.models.lineage import keep_rows
from assay.models.versions import save_version
from assay.project.unlabelled import read_unlabelled
from assay.store.tables import TraceRow
from tests.compare.test_outcomes import chance, replay, write
from tests.evaluate.scripted import ScriptedEngine
from tests.models.test_versions import RECORD

__all__ = ["replay"]
Replay = Callable[[Mapping[str, float]], None]
SKILL = {"prompt": 0.7, "rag": 0.9, "annotator": 0.97}


def case(number: int, colour: int = 0) -> dict[str, str]:
    return {"question": f"case {number} of the {('red', 'blue')[number % 2 - colour]} file"}


def make(
    folder: Path, inputs: list[dict[str, str]], rows: int = 100, *, file: str = "inputs.jsonl"
) -> projects.Project:
    (folder / file).write_text("\n".join(map(json.dumps, inputs)))
    settings = {"file": file, "model": "replay-annotator"}
    return write(folder, ["prompt", "rag"], rows, unlabelled=settings)


def compare(folder: Path, inputs: list[dict[str, str]], rows: int = 100, **fields: str) -> Result:
    return make(folder, inputs, rows, **fields).compare().result


def holdout_of(project: projects.Project) -> list[Example]:
    project.split()
    return list(read_examples(project.split_folder / "holdout.jsonl"))


def keep_trace(project: projects.Project, number: int, text: str) -> None:
    with project.store.session() as session:
        session.add(
            TraceRow(
                id=f"trace-{number}",
                project=project.owner,
                release="support",
                agent="a" * 64,
                messages=[{"role": "user", "content": text}],
                tools=[],
                answer={"role": "assistant", "content": "so"},
                masked=0,
                sampled=False,
            )
        )


def test_intervals_become_narrower_and_hold_the_truth(replay: Replay, tmp_path: Path) -> None:
    replay(SKILL)
    fresh = [case(n) for n in range(1000, 3000)]
    result = compare(tmp_path, fresh, 400)
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
    for number, text in enumerate(texts):
        keep_trace(made, number, text)
    found = read_unlabelled(made)
    assert found is not None
    assert "How do I close it?" in {example.input for example in found.examples}
    assert all(example.output == "" for example in found.examples)


def test_an_outage_of_the_annotator_costs_neither_an_opening_nor_the_verdict(
    replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run.__kwdefaults__, "backoff_s", 0.0)
    replay(SKILL)
    silent_on: set[str] = set()
    answering = BatchEngines.for_agent

    def engine(self: BatchEngines, agent: Agent) -> ScriptedEngine:
        scripted = answering(self, agent)
        assert isinstance(scripted, ScriptedEngine)
        rule = scripted.rule

        def fail(request: Request, call: int) -> Answer:
            silent = request.messages[-1].content in silent_on
            return Answer("", finish="error", error="down") if silent else rule(request, call)

        if agent.model == "replay-annotator":
            scripted.rule = fail
        return scripted

    monkeypatch.setattr(BatchEngines, "for_agent", engine)
    fresh = [case(n) for n in range(1000, 1200)]
    made = make(tmp_path, fresh)
    silent_on.update(row["question"] for row in fresh)
    with pytest.raises(OutageError):
        made.compare()
    assert made.openings() == []

    silent_on.clear()
    silent_on.add(holdout_of(made)[3].input)
    first = made.compare().result
    assert first.prediction_powered is None
    assert "labels of the annotator are missing" in first.warnings[-1]

    silent_on.clear()
    second = made.compare().result
    assert second.prediction_powered is not None
    assert second.verdict == first.verdict
    assert second.warnings == first.warnings[:-1]
    assert made.compare().result == second
    assert len(made.openings()) == 1


def test_what_is_measured_on_makes_another_comparison_and_what_it_is_called_does_not(
    replay: Replay, tmp_path: Path
) -> None:
    replay(SKILL)
    fresh = [case(n) for n in range(1000, 1200)]
    first = compare(tmp_path, fresh).comparison
    assert compare(tmp_path, fresh, file="renamed.jsonl").comparison == first
    assert compare(tmp_path, fresh[1:]).comparison != first
    without = write(tmp_path, ["prompt", "rag"], 100)
    assert without.compare().result.comparison != first
    assert len(without.openings()) == 3


def test_traces_that_come_in_do_not_open_the_holdout(replay: Replay, tmp_path: Path) -> None:
    replay(SKILL)
    settings = {"release": "support", "model": "replay-annotator"}
    made = write(tmp_path, ["prompt", "rag"], 100, unlabelled=settings)
    keep_trace(made, 1, "case 900 of the red file")
    first = made.compare().result
    keep_trace(made, 2, "case 7000 of the blue file")
    assert made.compare().result == first
    assert len(made.openings()) == 1


def test_an_annotator_that_knows_the_holdout_is_refused(replay: Replay, tmp_path: Path) -> None:
    replay(SKILL)
    made = make(tmp_path, [case(n) for n in range(1000, 1200)])
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file({"lora_A": torch.arange(6.0)}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    data = {"train": keep_rows(made.store, holdout_of(made)[:1])}
    version = save_version(made.store, adapter, RECORD.model_copy(update={"data": data}))
    settings = {"file": "inputs.jsonl", "model": f"version:{version}"}
    with pytest.raises(HoldoutError, match="1 row that"):
        write(tmp_path, ["prompt", "rag"], 100, unlabelled=settings).compare()
    assert made.openings() == []
