"""`classifier`: what is tried on validation, and that every text is embedded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.generate.test_classical import examples
from tests.generate.test_label_lists import LABELS, rows
from tests.models.tiny_embedder import write_embedder

from assay.agent.engines import BatchEngines
from assay.agent.lineage import rows_held
from assay.candidates.building import Context
from assay.candidates.registry import baselines, build, offer, propose_candidates
from assay.candidates.shared.heads import none_label
from assay.config import Config
from assay.evaluate.measure import Bench
from assay.example import Example
from assay.generate.label_lists import read_list
from assay.models.embed import get_embedder, remember
from assay.store.store import Store


def context_of(folder: Path, **fields: Any) -> Context:
    """Three labels; the embedder is a tiny one."""
    rows = examples(each=20)
    config = Config.model_validate(
        {
            "name": "bank",
            "task": "label",
            "data": {"file": "bank.csv"},
            "graders": [{"name": "exact"}],
            "primary": "exact",
            "candidates": ["classifier"],
            "classifier": {"embedder": str(write_embedder(folder))},
        }
        | fields
    )
    store = Store(folder / "state")
    bench = Bench(config, folder, store, BatchEngines(store))
    return Context(tuple(rows[:40]), tuple(rows[40:]), bench)


def embedded(context: Context, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that the model behind the embedder will have been given."""
    embedder = get_embedder(context.config.classifier.embedder)
    seen: list[str] = []
    encode = embedder._model.encode

    def counted(texts: list[str], **settings: object) -> object:
        seen.extend(texts)
        return encode(texts, **settings)

    monkeypatch.setattr(embedder._model, "encode", counted)
    return seen


def test_the_best_setting_is_served_and_each_text_was_embedded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(tmp_path)
    seen = embedded(context, monkeypatch)
    with remember():
        made = build("classifier", context)
        measured = context.measure(made.agent)
    inputs = {e.input for e in (*context.train, *context.validation)}
    assert sorted(seen) == sorted(inputs)
    assert (made.baseline, made.curated) == (True, True)
    assert not made.floor
    [chosen] = [trial for trial in made.tried if trial.chosen]
    assert chosen.score == max(trial.score for trial in made.tried)
    assert not any("pieces" in trial.setting for trial in made.tried)
    assert any("words" in trial.setting for trial in made.tried)
    assert tuple(measured.primary_scores) == made.scores
    assert all(a.logprob is not None for a in measured.answers)
    assert list(rows_held(made.agent, context.store)) == [e.content_hash() for e in context.train]
    words = build("baseline-tfidf", context).agent
    assert list(rows_held(words, context.store)) == [e.content_hash() for e in context.train]
    assert sorted(seen) == sorted(inputs)


def test_long_inputs_are_tried_in_pieces(tmp_path: Path) -> None:
    filler = "the now a it " * 8
    context = context_of(tmp_path)
    train, validation = (
        tuple(Example.of(filler + e.input, e.output, id=e.id) for e in part)
        for part in (context.train, context.validation)
    )
    made = build("classifier", replace(context, train=train, validation=validation))
    cut = max(t.score for t in made.tried if t.setting.startswith("vector, C"))
    [chosen] = [trial for trial in made.tried if trial.chosen]
    assert chosen.score > cut
    pieces = [t.score for t in made.tried if t.setting.startswith("vector, long inputs in pieces")]
    assert max(pieces) > cut


@pytest.mark.parametrize(
    ("labels", "abstain", "found"),
    [
        (("card", "fee"), None, None),
        (("card", "Out_of-scope"), None, "Out_of-scope"),
        (("card", "I do not know."), "I do not know.", "I do not know."),
        (("card", "another"), None, None),
    ],
)
def test_the_label_that_stands_for_none(
    tmp_path: Path, labels: tuple[str, ...], abstain: str | None, found: str | None
) -> None:
    knowledge = {"knowledge": {"abstain": abstain}} if abstain else {}
    config = context_of(tmp_path, **knowledge).config
    assert none_label(config, labels) == found


def test_several_labels_a_row_are_answered_as_a_list(tmp_path: Path) -> None:
    schema = {"type": "array", "items": {"type": "string", "enum": list(LABELS)}}
    context = context_of(
        tmp_path,
        task="json",
        output_schema=schema,
        graders=[{"name": "field-f1"}],
        primary="field-f1",
    )
    assert "classifier" in baselines(context.config)
    assert "encoder" not in offer(task="json", documents=False, lists=True)
    assert "classifier" in propose_candidates(task="json", documents=False, lists=True)
    assert "classifier" not in offer(task="json", documents=False)
    made = build("classifier", replace(context, train=tuple(rows()), validation=tuple(rows(3))))
    answers = context.bench.measure(made.agent, rows(1)).answers
    assert any(len(read_list(a.text) or ()) > 1 for a in answers)
    assert sum(made.scores) / len(made.scores) > 0.9
