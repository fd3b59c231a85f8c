"""Questions beside right and wrong passages as an objective: whose loss it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from tests.models.tiny_cross_encoder import write_cross_encoder
from tests.train.test_passages import CARD, FEE, MACHINE, ROWS

from assay.models.embed import load_reranker
from assay.train.encoder.passage_pairs import PassagePairs
from assay.train.encoder.passages import Question


def test_the_loss_is_binary_cross_entropy_over_pairs_of_questions_that_count(
    tmp_path: Path,
) -> None:
    unheard = Question("card lost", FEE, (MACHINE,), ("fee.md",), weight=0.0)
    twice = Question("cash card", MACHINE, (CARD, FEE), ("machine.md",), weight=2.0)
    reranker = load_reranker(str(write_cross_encoder(tmp_path)))
    loss = PassagePairs([*ROWS, unheard, twice], [unheard]).open(reranker, reranker.copy_model())
    assert (len(loss.rows), len(loss.judged)) == (7, 0)
    model = reranker.copy_model()
    theirs = BinaryCrossEntropyLoss(model, reduction="none")
    questions, passages, labels, weights = zip(
        *(
            (row.text, passage.text, float(passage == row.passage), row.weight)
            for row in (*ROWS, twice)
            for passage in (row.passage, *row.negatives)
        ),
        strict=True,
    )
    with torch.no_grad():
        ours = float(loss(**loss.batch(loss.rows))["loss"])
        each = theirs([list(questions), list(passages)], torch.tensor(labels)).cpu()
    weighed = float((each * torch.tensor(weights)).sum() / sum(weights))
    assert ours == pytest.approx(weighed, abs=1e-5)
    scored = reranker.scores(questions[0], [passages[0]])
    with torch.no_grad():
        plain = model(loss.collate(loss.rows[:1])["features"])["scores"]
    assert scored == pytest.approx(torch.sigmoid(plain).view(-1).tolist(), abs=1e-6)
