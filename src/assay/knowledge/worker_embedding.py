"""Passages that are embedded by workers (`assay.place.workers`).

base = KnowledgeBase(store, owner, name, embedders=lambda name: by_workers(get(name), workers))

What is sent are texts. A worker loads the embedder that has the same hash, and gives their vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.errors import ModelError
from assay.knowledge.build import Encoder
from assay.models.embed import Embedder, Vectors, get_embedder
from assay.models.tuned_encoder import SCHEME
from assay.place.kept import keep
from assay.place.opening import LazyWorkers
from assay.place.workers import Tell, Workers

_FLOAT = 4  # bytes


@dataclass(frozen=True, slots=True)
class EmbeddingWork:
    """Some texts, for a worker.

    Attributes:
        name, identity: of the embedder.
        kept_bytes: of its weights.
    """

    name: str
    identity: str
    texts: Sequence[str]
    threads: int
    kept_bytes: int

    def run(self, tell: Tell) -> Vectors:
        """In the worker: [len(texts), dimension].

        Raises:
            ModelError: the machine has another model of that name, or none.
        """
        import torch

        torch.set_num_threads(self.threads)
        embedder = keep((self.name, self.identity), lambda: get_embedder(self.name))
        if embedder.identity != self.identity:
            raise ModelError(
                "a machine of the cluster has another embedder under this name.",
                where=self.name,
                fix="Pull the model again on all machines (`assay models pull`).",
            )
        return embedder.encode(self.texts)


class WorkerEncoder:
    """An embedder whose texts are embedded by workers, where there are many of them."""

    def __init__(self, embedder: Embedder, workers: LazyWorkers) -> None:
        self._embedder, self._lazy = embedder, workers
        self._workers: Workers | None = None
        self.identity, self.dimension = embedder.identity, embedder.dimension
        self.at_once = embedder.at_once * workers.count

    def tokenizer_json(self) -> str:
        """The embedder's own, by which passages are cut in this process."""
        return self._embedder.tokenizer_json()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[len(texts), dimension], each of length 1; a few texts are embedded here.

        Raises:
            ConfigError: as `LazyWorkers.to_embed`.
            ModelError: as `EmbeddingWork.run`.
        """
        few = len(texts) <= self._embedder.at_once and self._workers is None
        if not texts or few:
            return self._embedder.encode(texts)
        if self._workers is None:
            self._workers = self._lazy.to_embed()
        size = -(-len(texts) // self._lazy.count)
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        made: list[Vectors] = [np.zeros((0, self.dimension), np.float32)] * len(parts)

        def ended(place: int, outcome: Vectors | Exception) -> None:
            if isinstance(outcome, Exception):
                raise outcome
            made[place] = outcome

        self._workers.run([self._work(part) for part in parts], lambda place, event: None, ended)
        return np.concatenate(made)

    def _work(self, texts: Sequence[str]) -> EmbeddingWork:
        known = self._embedder
        held = _FLOAT * known.parameters
        return EmbeddingWork(known.name, known.identity, texts, self._lazy.threads, held)


def by_workers(embedder: Embedder, workers: LazyWorkers) -> Encoder:
    """The embedder, by workers where they can have it: what was trained on a project's rows is here
    alone."""
    return embedder if embedder.name.startswith(SCHEME) else WorkerEncoder(embedder, workers)
