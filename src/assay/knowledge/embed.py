"""Texts become vectors whose dot product is their similarity."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from assay import wait_policy
from assay.errors import ModelError
from assay.models.hashes import folder_sha256
from assay.models.pull import RECORD, cache_folder, pull
from assay.models.quiet import exclusive_loading
from assay.progress import SILENT, Progress

STARTER = "all-minilm-l6-v2"
BATCH_SIZE = 64

Vectors = np.ndarray[Any, np.dtype[np.float32]]


class Embedder:
    """A sentence-transformers model. Safe to call from many threads.

    Attributes:
        name: what it was asked for by.
        identity: a hash of its weights, tokenizer and settings: equal where its vectors are.
        dimension: length of a vector.
        limit: tokens of a text that are looked at; what is beyond them is cut.
    """

    def __init__(self, name: str, model: Any, identity: str) -> None:
        self.name, self._model, self.identity = name, model, identity
        self.dimension = int(model.get_embedding_dimension())
        self.limit = int(model.max_seq_length)
        self._lock = Lock()  # a tokenizer cannot be used by two threads at once

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[len(texts), dimension] float32 of length 1; texts beyond the model's limit are cut."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        with self._lock:
            vectors: Vectors = self._model.encode(
                list(texts),
                batch_size=BATCH_SIZE,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            ).astype(np.float32, copy=False)
        return vectors

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the cut ones and the special ones included."""
        with self._lock:
            found = self._model.tokenizer(list(texts), truncation=False, padding=False)
        return [len(ids) for ids in found["input_ids"]]

    def tokenizer_json(self) -> str:
        """Its tokenizer for others to count with: nothing is cut, nothing is filled up."""
        with self._lock:
            text = self._model.tokenizer.backend_tokenizer.to_str()
        plain = Tokenizer.from_str(text)
        plain.no_truncation()
        plain.no_padding()
        made: str = plain.to_str()
        return made


def load_embedder(ref: str = STARTER, progress: Progress = SILENT) -> Embedder:
    """The embedder of a catalogue name, a local folder or a hub id.

    Raises:
        ModelError: it cannot be found, fetched, trusted or loaded.
    """
    wait_policy.adapt()
    folder = pull(ref, progress)
    try:
        with exclusive_loading():
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(str(folder), trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"this embedder cannot be loaded ({str(error).strip().splitlines()[0]}).",
            where=str(folder),
            fix=f"Use a sentence-transformers model, such as {STARTER}.",
        ) from None
    identity = folder_sha256(folder, cache_folder(), without=RECORD)
    return Embedder(ref, model.eval().float(), identity)
