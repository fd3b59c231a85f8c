"""The starter embedder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.errors import ModelError
from assay.models.embed import Embedder, load_embedder


@pytest.mark.slow
def test_vectors_are_of_length_one_and_alike_for_like_texts(
    capfd: pytest.CaptureFixture[str],
) -> None:
    embedder = load_embedder()
    vectors = embedder.encode(["My card is lost.", "I cannot find my card.", "Rates went up."])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, embedder.dimension) == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > far + 0.3
    many = embedder.encode(["filler " * n for n in range(1, 130)] + ["My card is lost."])
    np.testing.assert_allclose(many[-1], vectors[0], atol=1e-5)
    assert embedder.encode([]).shape == (0, 384)
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_is_no_embedder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_embedder(str(tmp_path))


def test_vectors_are_made_float32_whatever_the_model_gives() -> None:
    class Double:
        max_seq_length = 128

        def get_embedding_dimension(self) -> int:
            return 2

        def encode(self, texts: list[str], **settings: object) -> np.ndarray:
            assert settings["normalize_embeddings"] is True
            return np.tile(np.array([0.6, 0.8]), (len(texts), 1))

    vectors = Embedder("double", Double(), "double").encode(["a", "b"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, 2)
