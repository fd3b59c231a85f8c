"""Rows in pairs as an objective: whose loss it is, and which rows are put beside which."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
from tests.generate.test_classical import examples
from tests.models.tiny_embedder import write_embedder
from torch import nn

from assay.errors import DataError
from assay.example import Example
from assay.models.embed import Embedder, load_embedder
from assay.train.encoder.label_pairs import LabelPairs
from assay.train.encoder.objective import Loss

EACH, JUDGED_EACH = 5, 2
ALONE = Example.of("it is another thing", "alone")
ROWS = [*examples(each=3), ALONE, Example.of("card big fee", "alone", weight=0.0)]
VALIDATION = [Example.of("where is my card", "card"), Example.of("good morning", "unheard of")]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(str(write_embedder(tmp_path_factory.mktemp("embedder"))))


def opened(embedder: Embedder, rows: list[Example], seed: int = 0) -> Loss:
    data = LabelPairs(rows, VALIDATION, EACH, JUDGED_EACH, seed)
    return data.open(embedder, embedder.copy_model())


def test_the_loss_is_the_squared_error_of_the_cosine_each_pair_by_its_rows_weights(
    embedder: Embedder,
) -> None:
    loss = opened(embedder, [*ROWS, Example.of("big bank fee", "fee", weight=3.0)])
    model = embedder.copy_model()
    theirs = CosineSimilarityLoss(model, loss_fct=nn.MSELoss(reduction="none"))
    texts, others, same, weights = (list(column) for column in zip(*loss.rows, strict=True))
    assert set(weights) == {1.0, 3.0, 9.0}
    with torch.no_grad():
        each = theirs([model.preprocess(texts), model.preprocess(others)], torch.tensor(same)).cpu()
        ours = float(loss(**loss.batch(loss.rows))["loss"])
    assert ours == pytest.approx(
        float((each * torch.tensor(weights)).sum() / sum(weights)), abs=1e-5
    )


def test_each_row_stands_beside_as_many_of_its_label_as_of_others(embedder: Embedder) -> None:
    """A row that is alone stands beside itself; one of weight 0, or of a label that train lacks,
    beside none; validation rows stand beside those of train."""
    loss = opened(embedder, ROWS)
    heard = ROWS[:-1]
    assert Counter(same for *_, same, _ in loss.rows) == dict.fromkeys(
        (0.0, 1.0), EACH * len(heard)
    )
    by_place = [loss.rows[2 * EACH * n : 2 * EACH * (n + 1)] for n in range(len(heard))]
    for row, pairs in zip(heard, by_place, strict=True):
        own = {other.input for other in heard if other.output == row.output}
        assert {text for text, *_ in pairs} == {row.input}
        assert {other for _, other, same, _ in pairs if same} == own
        different = [other for _, other, same, _ in pairs if not same]
        assert own.isdisjoint(different)
        assert len(loss.lengths) == len(loss.rows)
    assert {other for _, other, same, _ in by_place[-1] if same} == {ALONE.input}
    assert Counter((text, same) for text, _, same, _ in loss.judged) == dict.fromkeys(
        [("where is my card", 1.0), ("where is my card", 0.0)], JUDGED_EACH
    )
    assert {other for _, other, *_ in loss.judged} <= {row.input for row in heard}
    assert opened(embedder, ROWS).rows == loss.rows
    assert opened(embedder, ROWS, seed=1).rows != loss.rows


def test_rows_of_one_label_are_refused(embedder: Embedder) -> None:
    """Whatever is said of others by rows that teach nothing."""
    one = [row for row in ROWS if row.output == "card"]
    with pytest.raises(DataError, match="at least two labels"):
        opened(embedder, [*one, Example.of("why this fee", "fee", weight=0.0)])
