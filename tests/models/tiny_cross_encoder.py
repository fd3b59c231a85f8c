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

    config = BertConfig(**write_tokenizer(folder, text, LIMIT), num_labels=labels)
    torch.manual_seed(seed)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
