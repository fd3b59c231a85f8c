"""Tiny encoders of families that do not continue text, with random weights, as the hub has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.models.tiny_embedder import TEXT, write_tokenizer

LIMIT = 32
"""Tokens of a text, or of a pair."""


def modern_config(folder: Path, **fields: Any) -> Any:
    """Write a tokenizer; returns the settings of a tiny ModernBERT that reads it."""
    from transformers import ModernBertConfig

    settings = write_tokenizer(folder, TEXT, LIMIT)
    ids = {"pad_token_id": 0, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3}
    return ModernBertConfig(
        vocab_size=settings["vocab_size"],
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LIMIT,
        local_attention=8,
        initializer_range=0.1,
        eos_token_id=3,
        **ids,
        **fields,
    )


def write_modern_bert(folder: Path) -> Path:
    """As it was trained to fill gaps: without modules.json."""
    import torch
    from transformers import ModernBertForMaskedLM

    config = modern_config(folder)
    torch.manual_seed(0)
    ModernBertForMaskedLM(config).save_pretrained(folder)
    return folder


def write_modern_cross_encoder(folder: Path) -> Path:
    """One score a pair."""
    import torch
    from transformers import ModernBertForSequenceClassification

    config = modern_config(folder, num_labels=1)
    torch.manual_seed(0)
    ModernBertForSequenceClassification(config).save_pretrained(folder)
    return folder


def write_distil_embedder(folder: Path) -> Path:
    """A folder of sentence-transformers: the first token's vector, a linear layer, length 1."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import DistilBertConfig, DistilBertModel

    body = folder / "body"
    settings = write_tokenizer(body, TEXT, LIMIT)
    torch.manual_seed(0)
    DistilBertModel(
        DistilBertConfig(
            vocab_size=settings["vocab_size"],
            max_position_embeddings=LIMIT,
            dim=32,
            hidden_dim=16,
            n_layers=1,
            n_heads=2,
            initializer_range=0.1,
        )
    ).save_pretrained(body)
    whole = folder / "whole"
    modules = [Transformer(str(body), max_seq_length=LIMIT), Pooling(32, "cls"), Dense(32, 24)]
    SentenceTransformer(modules=[*modules, Normalize()]).save(str(whole))
    return whole
