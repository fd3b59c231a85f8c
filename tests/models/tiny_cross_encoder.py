"""A tiny cross-encoder with random weights: a folder that sentence-transformers loads."""

from __future__ import annotations

from pathlib import Path

from tests.models.tiny_embedder import TEXT, write_tokenizer

LIMIT = 48
"""Tokens of a pair that it looks at, the three special ones included."""


def write_cross_encoder(folder: Path, seed: int = 0, text: str = TEXT, labels: int = 1) -> Path:
    """Write it; the same seed gives the same weights.

    Args:
        text: of the words that it knows.
        labels: numbers that it gives a pair.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    words = write_tokenizer(folder, text, LIMIT)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=words,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=LIMIT,
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=labels,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
