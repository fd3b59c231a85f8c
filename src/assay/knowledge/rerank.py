"""A cross-encoder reads passages beside the question, and orders the best ones anew."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from assay.errors import ModelError
from assay.models.pull import pull
from assay.models.quiet import exclusive_loading
from assay.progress import SILENT, Progress

BATCH_SIZE = 32


class Reranker:
    """A sentence-transformers cross-encoder. Safe to call from many threads."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._lock = Lock()  # a tokenizer cannot be used by two threads at once

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query; larger is better, the scale is the model's own."""
        if not texts:
            return []
        with self._lock:
            found = self._model.predict(
                [(query, text) for text in texts], batch_size=BATCH_SIZE, show_progress_bar=False
            )
        return [float(score) for score in found]


def load_reranker(ref: str, progress: Progress = SILENT) -> Reranker:
    """The cross-encoder of a local folder or a hub id.

    Raises:
        ModelError: it cannot be found, fetched, trusted or loaded, or does not give one score.
    """
    folder = pull(ref, progress)
    try:
        with exclusive_loading():
            from sentence_transformers import CrossEncoder

            model = CrossEncoder(str(folder), trust_remote_code=False, local_files_only=True)
            if model.num_labels != 1:
                raise ValueError(f"it gives {model.num_labels} scores, not one")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"this cross-encoder cannot be loaded ({str(error).strip().splitlines()[0]}).",
            where=str(folder),
            fix="Use a sentence-transformers cross-encoder with one label.",
        ) from None
    return Reranker(model)
