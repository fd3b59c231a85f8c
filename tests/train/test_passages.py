"""Questions and passages as an objective: whose loss it is, and what is held against whom."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from tests.models.tiny_embedder import write_embedder

from assay.models.embed import Embedder, load_embedder
from assay.train.encoder.passages import Passages, PassageText, Question

CARD, FEE = PassageText("card.md", "my bank card is lost"), PassageText("fee.md", "why this fee")
MACHINE = PassageText("machine.md", "the cash machine ate it")
ROWS = [
    Question("card lost", CARD, (MACHINE,), ("card.md",)),
    Question("big fee now", FEE, (PassageText("other.md", "it is a big bank"),), ("fee.md",)),
]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(str(write_embedder(tmp_path_factory.mktemp("embedder"))))


def losses(embedder: Embedder, rows: list[Question]) -> list[float]:
    opened = Passages(rows, []).open(embedder, embedder.copy_model())
    with torch.no_grad():
        found: list[float] = opened.losses(opened.collate(opened.rows)).tolist()
    return found


def test_the_loss_is_that_of_multiple_negatives(embedder: Embedder) -> None:
    model = embedder.copy_model()
    texts = [
        [row.text for row in ROWS],
        [row.passage.text for row in ROWS],
        [row.negatives[0].text for row in ROWS],
    ]
    with torch.no_grad():
        theirs = MultipleNegativesRankingLoss(model)(
            [model.preprocess(some) for some in texts], torch.zeros(2)
        )
    assert sum(losses(embedder, ROWS)) / 2 == pytest.approx(float(theirs), abs=1e-5)


def test_another_passage_of_its_document_is_not_held_against_a_question(
    embedder: Embedder,
) -> None:
    """Two questions about one document, each with a passage of it, in one step."""
    second = PassageText("card.md", "cash machine ate my card")
    first, other = ROWS
    alone = losses(embedder, [first, other])
    beside = Question("card ate", second, (), ("card.md",))
    together = losses(embedder, [first, other, beside])
    assert together[0] == pytest.approx(alone[0], abs=1e-5)
    assert together[1] > alone[1] + 1e-6
    same = Question("where is my card", CARD, (), ("card.md",))
    assert losses(embedder, [first, other, same])[:2] == pytest.approx(alone, abs=1e-5)


def test_a_question_of_weight_0_teaches_nothing(embedder: Embedder) -> None:
    dropped = Question("card lost", FEE, (), ("fee.md",), weight=0.0)
    opened = Passages([*ROWS, dropped], [dropped]).open(embedder, embedder.copy_model())
    assert (len(opened.rows), len(opened.judged)) == (2, 0)
