"""An embedder without a model: texts that share words (their first letters) are near."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from assay.models.embed import AT_ONCE, Vectors


class Wordy:
    """Counts words by their first `letters` into `dimension` places.

    `embedded` is every text it was given.
    """

    def __init__(self, dimension: int = 256, letters: int = 5) -> None:
        self.dimension, self._letters = dimension, letters
        self.at_once = AT_ONCE
        self.identity = f"wordy-{dimension}-{letters}"
        self.embedded: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        vectors = np.full((len(texts), self.dimension), 1e-6, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                vectors[row, zlib.crc32(word[: self._letters].encode()) % self.dimension] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def tokenizer_json(self) -> str:
        tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
        tokenizer.pre_tokenizer = Whitespace()
        return str(tokenizer.to_str())
