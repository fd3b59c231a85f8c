"""The starter embedder."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.models.tiny_embedder import LIMIT, write_embedder

from assay.errors import ModelError
from assay.models import embed
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
    assert embedder.lengths(["filler " * 400])[0] > embedder.limit
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


class Counting:
    """A model of vectors of two numbers that keeps what it was asked for."""

    max_seq_length = 128

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_embedding_dimension(self) -> int:
        return 2

    def encode(self, texts: list[str], **_settings: object) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), 1.0] for text in texts])


def test_what_was_embedded_is_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "KEPT_BYTES", 3 * 4 * 2)
    model = Counting()
    embedder = Embedder("counting", model, "counting")
    with embed.remember():
        np.testing.assert_array_equal(embedder.encode(["a", "bb", "a"])[:, 0], [1, 2, 1])
        assert model.asked == ["a", "bb"]
        np.testing.assert_array_equal(embedder.encode(["bb", "ccc"])[:, 0], [2, 3])
        assert model.asked == ["a", "bb", "ccc"]
        assert embedder.encode([]).shape == (0, 2)
        embedder.encode(["dddd"])  # the fourth: the one that was not asked for longest goes
        embedder.encode(["bb", "ccc", "a"])
        assert model.asked == ["a", "bb", "ccc", "dddd", "a"]
        other = Embedder("other", Counting(), "other")
        other.encode(["a"])
        assert other._model.asked == ["a"], "of another embedder nothing is known"


def test_nothing_is_remembered_where_several_may_ask() -> None:
    """How long an answer takes would tell one project what another has asked."""
    model = Counting()
    embedder = Embedder("counting", model, "counting")
    with embed.remember():
        embedder.encode(["a"])
        with ThreadPoolExecutor(1) as pool:  # a request that is answered meanwhile
            pool.submit(embedder.encode, ["a"]).result()
    for _ in range(2):
        embedder.encode(["a"])
    assert model.asked == ["a"] * 4


def test_a_long_text_is_the_mean_of_its_pieces(tmp_path: Path) -> None:
    embedder = load_embedder(str(write_embedder(tmp_path)))
    room = LIMIT - 2
    first, rest = " ".join(["card"] * room), "fee fee"
    long = f"{first} {rest}"
    assert embedder.is_cut(long)
    assert not embedder.is_cut(first)
    np.testing.assert_allclose(embedder.encode([long]), embedder.encode([first]), atol=1e-6)
    whole = embedder.encode([first])[0] * room + embedder.encode([rest])[0] * 2
    made = embedder.encode_in_pieces([long, rest, ""])
    np.testing.assert_allclose(made[0], whole / np.linalg.norm(whole), atol=1e-6)
    np.testing.assert_allclose(made[1:], embedder.encode([rest, ""]), atol=1e-6)


def test_threads_that_ask_at_once_load_an_embedder_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str) -> Embedder:
        loaded.append(name)
        time.sleep(0.05)
        return Embedder(name, Counting(), name)

    monkeypatch.setattr(embed, "load_embedder", load)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(embed.get_embedder, ["asked at once"] * 4))
    assert loaded == ["asked at once"]
    assert len(set(map(id, found))) == 1
