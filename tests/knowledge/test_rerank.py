"""A cross-encoder orders the best passages anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.models.tiny_cross_encoder import write_cross_encoder

from assay.errors import ModelError
from assay.knowledge import base as knowledge
from assay.knowledge.base import KnowledgeBase
from assay.models.embed import load_reranker

WORDS = "tea money back shop"


def test_a_model_gives_every_text_its_score(tmp_path: Path) -> None:
    reranker = load_reranker(str(write_cross_encoder(tmp_path / "model", text=WORDS)))
    alone = [reranker.scores("tea", [text])[0] for text in ("money back", "shop " * 50)]
    assert reranker.scores("tea", ["money back", "shop " * 50]) == pytest.approx(alone, abs=1e-5)
    assert alone[0] != alone[1]
    assert reranker.scores("tea", []) == []


def test_a_model_whose_files_have_changed_is_another(tmp_path: Path) -> None:
    folder = write_cross_encoder(tmp_path / "model", text=WORDS)
    before = load_reranker(str(folder)).identity
    assert load_reranker(str(folder)).identity == before
    config = folder / "config.json"
    config.write_text(config.read_text() + "\n")
    assert load_reranker(str(folder)).identity != before


def test_a_model_that_gives_no_single_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="2 scores, not one"):
        load_reranker(str(write_cross_encoder(tmp_path / "two", labels=2)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError):
        load_reranker(str(tmp_path / "empty"))


def test_what_it_prefers_comes_first_though_it_was_found_late(
    base: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Prefers:
        def scores(self, query: str, texts: Sequence[str]) -> list[float]:
            assert query == "shop opens closes"
            return [float("tea" in text) for text in texts]

    monkeypatch.setattr(knowledge, "open_reranker", lambda name, store: Prefers())
    base.add([docs])
    for mode in ("dense", "hybrid"):
        [[usual]] = base.search(["shop opens closes"], k=1, mode=mode)  # type: ignore[arg-type]
        assert usual.document.endswith("hours.txt")
        [[first]] = base.search(
            ["shop opens closes"],
            k=1,
            mode=mode,  # type: ignore[arg-type]
            rerank="any",
        )
        assert (first.document.endswith("tea.txt"), first.score) == (True, 1.0)
    # What is not relevant is not brought back by it.
    [found] = base.search(["shop opens closes"], k=3, mode="bm25", rerank="any")
    assert [Path(p.document).name for p in found] == ["hours.txt"]
