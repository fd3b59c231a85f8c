"""What embedders are said to take is what they do: products are counted, and what is kept of them.

No clock is read: the time told is their number over the speed of this machine.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from tests.candidates.test_classifier import context_of
from tests.models.tiny_embedder import write_embedder
from torch.utils.flop_counter import FlopCounterMode

from assay.candidates import encoder_pairs
from assay.candidates.building import Context
from assay.candidates.registry import build, specs
from assay.candidates.spec import PASSAGE_TOKENS, Sizes
from assay.config.candidates import STARTER_EMBEDDER
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.settings import KnowledgeSettings
from assay.models.embed import get_embedder, remember
from assay.models.encoder_size import STARTER_SIZE, EncoderSize, encoder_size
from assay.progress import SILENT, Progress
from assay.project import embedding
from assay.project import estimate as module
from assay.project.embedding import (
    IndexedDocuments,
    embedding_operations,
    indexed_documents,
    kept_numbers,
    tuning_bytes,
    with_encoders,
)
from assay.project.estimate import estimate
from assay.store.store import Store
from assay.train.encoder.label_pairs import LabelPairs
from assay.train.encoder.labels import Labels

SIZES = Sizes(
    train=2000,
    validation=350,
    holdout=400,
    system_tokens=60,
    input_tokens=20,
    output_tokens=4,
    parameters=134.5e6,
    context=8192,
)
BASE_SIZE = EncoderSize(110_000_000, 85_500_000, 83_712, 512)
"""Of 12 layers of 768, as BERT's."""


def sizes_of(context: Context) -> Sizes:
    """As a project counts them; what is built sees no holdout."""
    embedder = context.config.classifier.embedder
    tokens = get_embedder(embedder).lengths([row.input for row in context.train])
    rows = len(context.train), len(context.validation), 0
    return Sizes(*rows, 0.0, fmean(tokens), 1.0, 1e6, 512, embedder=encoder_size(embedder))


@pytest.mark.parametrize("layers", [1, 8])
@pytest.mark.parametrize("name", ["classifier", "encoder", "encoder-pairs", "nearest-answer"])
def test_the_operations_that_are_told_are_those_that_are_made(
    tmp_path: Path, name: str, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_pairs, "MOST_EACH", 4)
    embedder = str(write_embedder(tmp_path, layers=layers))
    context = context_of(tmp_path / "project", classifier={"embedder": embedder})
    sizes = sizes_of(context)
    told = embedding_operations(specs()[name].estimate(context.config, sizes), sizes)
    with FlopCounterMode(display=False) as counter, remember():
        build(name, context)
    assert told / 2 < counter.get_total_flops() < 1.5 * told


@pytest.mark.parametrize("name", ["encoder", "encoder-pairs"])
def test_what_a_step_keeps_is_told(tmp_path: Path, name: str) -> None:
    context = context_of(tmp_path)
    embedder = get_embedder(context.config.classifier.embedder)
    rows = context.train, context.validation
    data = Labels(*rows) if name == "encoder" else LabelPairs(*rows, each=20, judged_each=5)
    loss = data.open(embedder, embedder.copy_model())
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    weights = {p.data_ptr() for p in loss.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(**loss.batch(loss.rows[:16]))
    numbers = sum(count for place, count in kept.items() if place not in weights)
    texts = [text for *own, _, _ in loss.rows[:16] for text in own]
    assert len(texts) == specs()[name].estimate(context.config, SIZES).texts_per_step
    tokens = sum(embedder.lengths(texts))
    told = kept_numbers(encoder_size(context.config.classifier.embedder), tokens)
    assert told / 2 < numbers < 2 * told


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("classifier", "embedder"),
        ("encoder", "embedder"),
        ("encoder-pairs", "embedder"),
        ("quote", "document_embedder"),
        ("rag-tuned", "document_embedder"),
        ("rag-tuned", "reranker"),
    ],
)
def test_a_larger_encoder_takes_as_many_times_as_long(
    name: str, encoder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "embedding_flops", lambda: 100e9)
    monkeypatch.setattr(module, "machine_flops", lambda: module.REFERENCE_FLOPS)
    config = context_of(tmp_path, knowledge={"ks": [3], "rerank": "reader"}).config
    none = EncoderSize(0, 0, 0, 256)
    sizes = replace(SIZES, embedder=none, document_embedder=none, reranker=none)

    def told(size: EncoderSize) -> tuple[float, float]:
        found = estimate(config, replace(sizes, **{encoder: size}), [name], 0.3)
        return dict(found.parts)[name], found.memory_bytes

    (rest, _), (small, less), (large, more) = told(none), told(STARTER_SIZE), told(BASE_SIZE)
    factor = BASE_SIZE.multiplied / STARTER_SIZE.multiplied
    assert large - rest == pytest.approx(factor * (small - rest))
    assert small > rest
    assert more - less >= 4 * (BASE_SIZE.parameters - STARTER_SIZE.parameters)
    if name in ("encoder", "encoder-pairs", "rag-tuned"):
        texts = specs()[name].estimate(config, SIZES).texts_per_step or 16
        assert more - less >= tuning_bytes(BASE_SIZE, texts * 20) - 0.5e9


def test_a_tuned_search_embeds_every_passage_anew(tmp_path: Path) -> None:
    config = context_of(tmp_path, knowledge={"ks": [3]}).config

    def told(name: str, passages: int) -> float:
        sizes = replace(SIZES, passages=passages)
        return embedding_operations(specs()[name].estimate(config, sizes), sizes)

    more = told("rag-tuned", 1000) - told("rag-tuned", 0)
    assert more == pytest.approx(2.0 * 1000 * PASSAGE_TOKENS * STARTER_SIZE.multiplied)
    assert told("rag", 1000) == told("rag", 0)  # they are there already


def test_the_encoders_that_read_are_those_that_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documents' embedder is that of the knowledge base, whatever `classifier` names."""
    looked: list[str] = []

    def look(name: str, _: Progress) -> EncoderSize:
        looked.append(name)
        return BASE_SIZE if name == "large" else STARTER_SIZE

    monkeypatch.setattr(embedding, "encoder_size", look)
    config = context_of(tmp_path, knowledge={"rerank": "reader"}, candidates=["quote"]).config
    store = Store(tmp_path / "state")
    assert indexed_documents(store, "bank", config) == IndexedDocuments(STARTER_EMBEDDER, 0)
    (tmp_path / "a.md").write_text("One sentence.")
    base = KnowledgeBase(store, "bank", "documents")
    embedder = str(write_embedder(tmp_path, seed=1))
    base.add([tmp_path / "a.md"], settings=KnowledgeSettings(embedder, chunk_tokens=16))
    assert indexed_documents(store, "bank", config) == IndexedDocuments(embedder, 1)

    alone = config.model_copy(update={"baselines": False})
    found = with_encoders(SIZES, alone, IndexedDocuments("large", 7), SILENT)
    assert (found.document_embedder, found.passages, looked) == (BASE_SIZE, 7, ["large"])
    assert (found.embedder, found.reranker) == (STARTER_SIZE, STARTER_SIZE)
    tuned = config.model_copy(update={"candidates": ["rag-tuned"]})
    looked.clear()
    with_encoders(SIZES, tuned, IndexedDocuments("large", 7), SILENT)
    assert looked == [config.classifier.embedder, "large", "reader"]


def test_the_encoder_of_banking77_is_told_about_what_it_took(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """221 s of one thread, where a large product in float32 makes 88e9 operations a second; the
    process took at most 1.3 GB, a language model not among them (docs/benchmarks.md)."""
    monkeypatch.setattr(module, "embedding_flops", lambda: embedding.EMBED_SHARE * 88e9)
    config, sizes = context_of(tmp_path).config, replace(SIZES, validation=353, holdout=0)
    found = estimate(config, sizes, ["encoder"], 0.3)
    assert 221 / 1.5 < dict(found.parts)["encoder"] < 1.5 * 221
    assert 1.3e9 / 2 < found.memory_bytes - 4 * sizes.parameters < 1.3e9 * 1.5
