"""`encoder`, `encoder-pairs`: what they train is kept, answers as an agent and knows its rows."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.candidates.test_classifier import context_of
from tests.generate.test_classical import asked

from assay.agent.lineage import rows_held
from assay.candidates import encoder_pairs
from assay.candidates.building import Candidate, Context
from assay.candidates.registry import build, offer, propose_candidates
from assay.errors import AssayError, ModelError
from assay.generate.embedding_classifier import load_embedding_classifier
from assay.generate.registry import EngineResources, open_batch, open_stream
from assay.generate.stream import End, Piece, Sampling
from assay.models import embed
from assay.models.tensor_blob import dump_tensors
from assay.models.tuned_encoder import SCHEME, open_embedder
from assay.progress import Silent, Task
from assay.store import blobs
from assay.store.store import Store


class TaskNames(Silent):
    """Remembers what is in progress, by its unit."""

    def __init__(self) -> None:
        self.by_unit: dict[str, str] = {}

    def task(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Task]:
        self.by_unit[unit] = label
        return super().task(label, total, unit)


@pytest.fixture(scope="module", params=["encoder", "encoder-pairs"])
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Context, Candidate]:
    context = context_of(tmp_path_factory.mktemp("encoder"))
    context = replace(context, bench=replace(context.bench, progress=TaskNames()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_pairs, "MOST_EACH", 2)
        return context, build(request.param, context)


def tuned_name(context: Context, made: Candidate) -> str:
    """Of the embedder behind a candidate's classifier."""
    blob = blobs.get(context.store, made.agent.model.partition(":")[2])
    return load_embedding_classifier(blob).embedder


def test_it_is_measured_as_it_is_served(built: tuple[Context, Candidate]) -> None:
    context, made = built
    assert context.progress.by_unit["settings"] == made.name  # type: ignore[attr-defined]
    assert tuned_name(context, made).startswith(SCHEME)
    assert tuple(context.measure(made.agent).primary_scores) == made.scores
    assert list(rows_held(made.agent, context.store)) == [e.content_hash() for e in context.train]
    [kept] = [p for p in made.curve if p.step == made.best_step]
    losses = [p.validation_loss for p in made.curve if p.validation_loss is not None]
    assert kept.validation_loss == min(losses)
    request, resources = asked("bank card lost"), EngineResources(context.store)
    [answer] = open_batch(made.agent.model, resources).answer([request])
    stream = open_stream(made.agent.model, resources)
    pieces = list(stream.chat(request.messages, (), Sampling(confidence=True)))
    assert pieces[0] == Piece("card")
    assert isinstance(pieces[1], End)
    assert answer.logprob is not None
    assert pieces[1].logprob == pytest.approx(answer.logprob, abs=1e-6)


def test_an_embedder_that_is_another_or_damaged_is_refused(
    built: tuple[Context, Candidate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, made = built
    other = Store(tmp_path / "other")
    with pytest.raises(AssayError, match="no blob"):
        open_embedder(tuned_name(context, made), other)
    base = embed.get_embedder(context.config.classifier.embedder)
    wrong = {"embedder": base.name, "identity": base.identity}
    strange = {"0.model.strange": base.encode(["card"])}
    for document, tensors, said in (
        (wrong, strange, "damaged"),
        ({**wrong, "identity": "0" * 64}, {}, "not the one that was trained"),
    ):
        name = (
            f"{SCHEME}{blobs.put(other, dump_tensors('assay-tuned-embedder-1', document, tensors))}"
        )
        with pytest.raises(ModelError, match=said):
            open_embedder(name, other)


def test_they_are_for_labels_and_cross_entropy_is_proposed() -> None:
    proposed = propose_candidates(task="label", documents=False)
    assert {"encoder", "encoder-pairs"}.intersection(proposed) == {"encoder"}
    assert {"encoder", "encoder-pairs"} <= set(offer(task="label", documents=False))
    assert {"encoder", "encoder-pairs"}.isdisjoint(offer(task="json", documents=False))
