"""`quote:BLOB`: the sentences of a request's passages that answer its question best.

It reads the passages that the agent has put before the question (`assay.knowledge.passage_block`)
and holds no text of its own: what was removed from the documents is quoted no more.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from assay.generate.batch import Answer, BatchEngine, Request
from assay.generate.calibration import PLAIN, Calibration, Floats
from assay.generate.nearest import round_likeness
from assay.generate.registry import EngineResources
from assay.knowledge.passage_block import question_in, texts_in
from assay.knowledge.sentences import spans
from assay.models.embed import get_embedder, get_reranker
from assay.models.tensor_blob import dump_tensors, load_tensors
from assay.progress import SILENT, Progress
from assay.store import blobs

FORMAT = "assay-quote-1"
NO_PASSAGE = math.log(1e-6)
"""Log-probability that an abstention for want of passages is right."""


@dataclass(frozen=True, slots=True)
class QuoteModel:
    """How a quotation is chosen.

    Attributes:
        sentences: in a row, that are quoted.
        kind: what judges them.
        judge: name of the embedder or cross-encoder.
        abstention: what is said where there is no passage.
        calibration: how probable it is that a quotation is right, by the judge's score.
    """

    sentences: int
    kind: Literal["embedder", "cross-encoder"]
    judge: str
    abstention: str
    calibration: Calibration = PLAIN


def dump_quote(model: QuoteModel) -> bytes:
    """A model as a blob, see `dump_tensors`."""
    return dump_tensors(FORMAT, asdict(model), {})


def load_quote(blob: bytes) -> QuoteModel:
    """The inverse of `dump_quote`.

    Raises:
        ModelError: the blob is none, or is damaged.
    """

    def parse(document: dict[str, Any], _: dict[str, Any]) -> QuoteModel:
        del document["format"]
        model = TypeAdapter(QuoteModel).validate_python(document)
        if model.sentences < 1:
            raise ValueError("it quotes nothing")
        return model

    return load_tensors(blob, FORMAT, "model that quotes", parse)


class QuoteEngine:
    """Answers with sentences of the passages in a request; tokens are not counted.

    Args:
        judge: scores texts beside a question, larger is better.
        sha256: of the model's blob.
    """

    def __init__(self, model: QuoteModel, judge: _Embedding | _Reading, sha256: str) -> None:
        self.model, self._judge, self._sha256 = model, judge, sha256

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request, how sentences are cut too."""
        return {"engine": "quote-2", "model": self._sha256, "judge": self._judge.identity}

    def prompt_length(self, request: Request) -> int:
        """0: nothing is counted in tokens."""
        return 0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """The best run of sentences for each request, the first of equally good ones.

        Its `logprob` is that of its being right.
        """
        asked = [
            (
                question_in(request.messages),
                [
                    span
                    for text in texts_in(request.messages)
                    for span in spans(text, self.model.sentences)
                ],
            )
            for request in requests
        ]
        answers = []
        with progress.task("quoting", len(requests), "answers") as task:
            for scores, (_, found) in zip(self._judge.scores(asked), asked, strict=True):
                answers.append(self._answer(found, scores))
                task.advance()
        return answers

    def _answer(self, found: list[str], scores: Floats) -> Answer:
        if not found:
            return Answer(self.model.abstention, logprob=NO_PASSAGE)
        best = int(np.argmax(scores))
        return Answer(found[best], logprob=self.model.calibration.logprob(float(scores[best])))


Choices = Sequence[tuple[str, list[str]]]
"""Questions, each with the texts to choose from."""


class _Embedding:
    """Scores texts by their cosine with the question; what comes again is embedded once."""

    def __init__(self, name: str) -> None:
        self._embedder = get_embedder(name)
        self.identity = self._embedder.identity

    def scores(self, asked: Choices) -> list[Floats]:
        """[texts] of each question."""
        texts = dict.fromkeys(t for question, found in asked if found for t in (question, *found))
        vectors = dict(zip(texts, self._embedder.encode(list(texts)), strict=True))
        return [
            round_likeness(np.stack([vectors[t] for t in found]) @ vectors[question])
            if found
            else np.zeros(0, dtype=np.float32)
            for question, found in asked
        ]


class _Reading:
    """Scores texts by reading each beside the question."""

    def __init__(self, name: str) -> None:
        self._reranker = get_reranker(name)
        self.identity = self._reranker.identity

    def scores(self, asked: Choices) -> list[Floats]:
        """[texts] of each question."""
        return [
            round_likeness(np.array(self._reranker.scores(question, found)))
            for question, found in asked
        ]


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The engine of settings that are kept; see `assay.generate.registry`."""
    blob = blobs.get(resources.store, model.partition(":")[2])
    found = load_quote(blob)
    judge = _Reading(found.judge) if found.kind == "cross-encoder" else _Embedding(found.judge)
    return QuoteEngine(found, judge, hashlib.sha256(blob).hexdigest())
