"""`nearest:BLOB`: the answer of the row whose input is most like the request's.

A row that is not alike enough is not answered by: an abstention is given in its place. Rows are
kept as one safetensors blob, their vectors beside a JSON document, see `dump_tensors`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.errors import ModelError, Step
from assay.generate.batch import Answer, BatchEngine, Request
from assay.generate.calibration import Calibration
from assay.generate.registry import EngineResources
from assay.models.embed import Embedder, Vectors, get_embedder
from assay.models.tensor_blob import Array, check_arrays, dump_tensors, load_tensors, read_texts
from assay.progress import SILENT, Progress
from assay.store import blobs

FORMAT = "assay-nearest-1"
_TOGETHER = 256
"""Requests that are compared with all rows at once."""
_DIGITS = 5


@dataclass(frozen=True)
class NearestModel:
    """Rows to answer by.

    Attributes:
        embedder, identity: name and hash of the model that measures likeness.
        answers: distinct answers.
        places: [N] which of them a row has.
        vectors: [N, D] float32, of length 1, of the inputs.
        threshold: rows less alike than this (cosine) are not answered by; None: all are.
        abstention: what is said then.
        calibration: how probable it is that an answer is right, by the cosine.
        rows: what `assay.models.lineage.rows_of` knows the rows by.
    """

    embedder: str
    identity: str
    answers: tuple[str, ...]
    places: np.ndarray[Any, np.dtype[np.int32]]
    vectors: Vectors
    threshold: float | None
    abstention: str
    calibration: Calibration
    rows: str


def round_likeness(likeness: Array) -> Array:
    """Without the digits in which vectors differ with what else is embedded at once."""
    rounded: Array = np.round(likeness, _DIGITS)
    return rounded


def nearest_rows(vectors: Vectors, rows: Vectors) -> tuple[list[int], list[float]]:
    """The most similar row of each vector, and their cosine, to five digits.

    Args:
        vectors: [n, D], of length 1.
        rows: [N, D] with N > 0, of length 1; the first of equally similar ones counts.
    """
    places: list[int] = []
    cosines: list[float] = []
    for start in range(0, len(vectors), _TOGETHER):
        likeness = round_likeness(vectors[start : start + _TOGETHER] @ rows.T)
        best = likeness.argmax(axis=1)
        places += best.tolist()
        cosines += likeness[np.arange(len(best)), best].tolist()
    return places, cosines


def distinct(answers: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.int32]]]:
    """The distinct ones, and the place of each among them."""
    kept = {answer: place for place, answer in enumerate(dict.fromkeys(answers))}
    return tuple(kept), np.array([kept[answer] for answer in answers], dtype=np.int32)


def dump_nearest(model: NearestModel) -> bytes:
    """A model as a blob, see `dump_tensors`."""
    document = {
        "embedder": model.embedder,
        "identity": model.identity,
        "answers": model.answers,
        "threshold": model.threshold,
        "abstention": model.abstention,
        "slope": model.calibration.slope,
        "intercept": model.calibration.intercept,
        "rows": model.rows,
    }
    return dump_tensors(FORMAT, document, {"vectors": model.vectors, "places": model.places})


def load_nearest(blob: bytes) -> NearestModel:
    """The inverse of `dump_nearest`.

    Raises:
        ModelError: the blob is none, or is damaged.
    """

    def parse(document: dict[str, Any], tensors: dict[str, Any]) -> NearestModel:
        answers, threshold = read_texts(document["answers"]), document["threshold"]
        embedder, identity, abstention, rows = read_texts(
            [document[name] for name in ("embedder", "identity", "abstention", "rows")]
        )
        check_arrays(tensors, {"vectors": (-1, -1), "places": (-1,)})
        check_places(tensors["places"], tensors["vectors"], answers)
        return NearestModel(
            embedder=embedder,
            identity=identity,
            answers=answers,
            places=tensors["places"],
            vectors=tensors["vectors"],
            threshold=None if threshold is None else float(threshold),
            abstention=abstention,
            calibration=Calibration(float(document["slope"]), float(document["intercept"])),
            rows=rows,
        )

    return load_tensors(blob, FORMAT, "store of nearest answers", parse)


def check_places(
    places: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any], answers: Sequence[str]
) -> None:
    """See that every row has a vector and one of the answers; ValueError where one has not."""
    if not len(places) == len(vectors) > 0 or places.dtype.kind != "i":
        raise ValueError("its rows do not fit together")
    if not 0 <= places.min() <= places.max() < len(answers):
        raise ValueError("there is no such answer")


def check_embedder(embedder: Embedder, name: str, identity: str) -> None:
    """See that an embedder is the one that rows were embedded by.

    Args:
        name, identity: of that one.

    Raises:
        ModelError: it is another.
    """
    if embedder.identity != identity:
        raise ModelError(
            "this embedder is not the one that embedded the rows.",
            where=name,
            fix=f"Restore its original files, or make the agent again with {Step.COMPARE}.",
        )


class NearestEngine:
    """Answers as the most similar row does; tokens are not counted.

    Args:
        sha256: of the model's blob.

    Raises:
        ModelError: the embedder is not the one of the rows.
    """

    def __init__(self, model: NearestModel, embedder: Embedder, sha256: str) -> None:
        check_embedder(embedder, model.embedder, model.identity)
        self.model, self._embedder, self._sha256 = model, embedder, sha256

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request."""
        return {
            "engine": "nearest",
            "model": self._sha256,
            "embedder": self._embedder.identity,
        }

    def prompt_length(self, request: Request) -> int:
        """0: nothing is counted in tokens."""
        return 0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """The answer of the row most like each request's text, system turns left out.

        Its `logprob` is that of its being right, also where it is withheld for an abstention.
        """
        with progress.task("looking up", len(requests), "answers") as task:
            vectors = self._embedder.encode([request.input for request in requests])
            found = zip(*nearest_rows(vectors, self.model.vectors), strict=True)
            task.advance(len(requests))
        return [self._answer(place, cosine) for place, cosine in found]

    def _answer(self, place: int, cosine: float) -> Answer:
        model = self.model
        text = model.answers[model.places[place]]
        if model.threshold is not None and cosine < model.threshold:
            text = model.abstention
        return Answer(text, logprob=model.calibration.logprob(cosine))


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The engine of stored answers; see `assay.generate.registry`."""
    blob = blobs.get(resources.store, model.partition(":")[2])
    rows = load_nearest(blob)
    return NearestEngine(rows, get_embedder(rows.embedder), hashlib.sha256(blob).hexdigest())
