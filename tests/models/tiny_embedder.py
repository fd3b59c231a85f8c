"""A tiny embedder with random weights: a folder that sentence-transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXT = "my bank card is lost cash machine ate it why this big fee now the a"
LIMIT = 16
"""Tokens of a text that it looks at, the two special ones included."""


def write_tokenizer(folder: Path, text: str, limit: int) -> dict[str, Any]:
    """Write a tokenizer of whole words; returns the settings of a tiny BERT that reads it.

    Args:
        text: of the words that it knows.
        limit: tokens of a text, or of a pair, the special ones included.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *text.split()]
    plain = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(
        tokenizer_object=plain, model_max_length=limit, **names
    ).save_pretrained(folder)
    return {
        "vocab_size": len(words),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": limit,
        "initializer_range": 0.1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def write_embedder(folder: Path, seed: int = 0, text: str = TEXT, layers: int = 1) -> Path:
    """Write it; the same seed gives the same weights.

    Args:
        text: of the words that it knows.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel

    body = folder / "body"
    settings = write_tokenizer(body, text, LIMIT) | {"num_hidden_layers": layers}
    torch.manual_seed(seed)
    BertModel(BertConfig(**settings)).save_pretrained(body)
    whole = folder / f"embedder-{seed}"
    module = Transformer(str(body), max_seq_length=LIMIT)
    SentenceTransformer(modules=[module, Pooling(32, "mean")]).save(str(whole))
    return whole
