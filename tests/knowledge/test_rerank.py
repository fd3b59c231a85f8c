"""A cross-encoder orders the best passages anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from assay.errors import ModelError
from assay.knowledge import base as knowledge
from assay.knowledge.base import KnowledgeBase
from assay.models.embed import load_reranker


def write_cross_encoder(folder: Path, labels: int = 1) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "tea", "money", "back", "shop"]
    plain = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=plain, model_max_length=32, **names).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=32,
        num_labels=labels,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_model_gives_every_text_its_score(tmp_path: Path) -> None:
    reranker = load_reranker(str(write_cross_encoder(tmp_path / "model")))
    alone = [reranker.scores("tea", [text])[0] for text in ("money back", "shop " * 50)]
    assert reranker.scores("tea", ["money back", "shop " * 50]) == pytest.approx(alone, abs=1e-5)
    assert alone[0] != alone[1]
    assert reranker.scores("tea", []) == []


def test_a_model_whose_files_have_changed_is_another(tmp_path: Path) -> None:
    folder = write_cross_encoder(tmp_path / "model")
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

    monkeypatch.setattr(knowledge, "get_reranker", lambda name: Prefers())
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
