"""An encoder of the hub does all that an embedder does: it classifies, learns and is exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.candidates.test_classifier import context_of
from tests.generate.test_classical import asked
from tests.models.local_hub import local_hub, use
from tests.models.tiny_encoders import write_distil_embedder, write_modern_bert

from assay.candidates import encoder_pairs
from assay.candidates.registry import build
from assay.generate.registry import EngineResources, open_stream
from assay.generate.stream import End, Piece, Sampling
from assay.release.classifier_export import export_classifier

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("write", "way"),
    [
        (write_modern_bert, "encoder"),
        (write_distil_embedder, "encoder"),
        (write_distil_embedder, "encoder-pairs"),
    ],
)
def test_it_is_a_classifier_is_trained_and_leaves_as_a_graph(
    write: Callable[[Path], Path], way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoder_pairs, "MOST_EACH", 2)
    name = f"org/{write.__name__}"
    context = context_of(tmp_path / "state", classifier={"embedder": name})
    with local_hub() as hub:
        use(hub, monkeypatch, tmp_path / "no token")
        hub.add(name, write(tmp_path / "published"))
        made = build("classifier", context)
    assert tuple(context.measure(made.agent).primary_scores) == made.scores
    stream = open_stream(made.agent.model, EngineResources(context.store))
    request = asked("bank card lost")
    pieces = list(stream.chat(request.messages, (), Sampling()))
    assert isinstance(pieces[0], Piece)
    assert isinstance(pieces[-1], End)

    trained = build(way, context)
    losses = [p.validation_loss for p in trained.curve if p.validation_loss is not None]
    assert min(losses[1:]) < losses[0]

    out = tmp_path / "graph"
    found = export_classifier(
        "trained@1", trained.agent, out, bench=context.bench, validation=context.validation
    )
    assert found.parity.equal_answers == found.parity.rows == len(context.validation)
    assert found.parity.largest <= found.parity.allowed
