"""A classifier over an embedder's vectors: logistic regression, for one label a row or several.

Beyond the embedding an answer is one small matrix product. A model is kept as one safetensors blob
with a JSON document in its metadata; nothing is pickled. It knows the embedder that it learned
from by name and by hash, and refuses another.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from assay.errors import DataError, ModelError, Step
from assay.example import Example
from assay.generate.batch import Answer, BatchEngine, Request, choice
from assay.generate.classical import (
    TfidfSettings,
    at_least_two,
    fit_labels,
    new_vectorizers,
    restore_vectorizers,
)
from assay.generate.label_lists import Several, fit_each, log_sigmoid, members, read_list
from assay.generate.logistic import log_softmax
from assay.generate.registry import EngineResources
from assay.models.embed import Embedder, Vectors
from assay.models.tensor_blob import Array, check_arrays, dump_tensors, load_tensors, read_texts
from assay.models.tuned_encoder import open_embedder
from assay.progress import SILENT, Progress
from assay.store import blobs

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

FORMAT = "assay-embedding-classifier-1"
SCHEME = "embedded:"
WORDS = TfidfSettings(word=(1, 2))
COOLEST, HOTTEST = 0.1, 10.0
"""Temperatures that are tried."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What the classifier sees of a text, and how strongly it is held back.

    Attributes:
        strength: inverse of the regularisation (scikit-learn's C).
        in_pieces: a text beyond the embedder's limit is the mean of its pieces; else it is cut.
        words: weight of TF-IDF features of words beside the vector, whose length is 1; 0: none.
    """

    strength: float
    in_pieces: bool = False
    words: float = 0.0

    def __str__(self) -> str:
        pieces = ", long inputs in pieces" if self.in_pieces else ""
        words = f" + words times {self.words:g}" if self.words else ""
        return f"vector{words}{pieces}, C={self.strength:g}"

    def embed(self, embedder: Embedder, texts: Sequence[str]) -> Vectors:
        """[len(texts), D], as these settings see the texts."""
        return embedder.encode_in_pieces(texts) if self.in_pieces else embedder.encode(texts)


@dataclass(frozen=True, slots=True)
class Doubt:
    """The answer where no other label is likely enough.

    Attributes:
        label: that stands for none of the others.
        threshold: least probability of another label that is given as an answer.
    """

    label: str
    threshold: float


@dataclass(frozen=True)
class EmbeddingClassifier:
    """What has been learned over the vectors of an embedder.

    Attributes:
        labels: the C classes, in order of the probabilities.
        embedder, identity: name and hash of what makes the vectors.
        temperature: scores are divided by it.
        doubt: None: the likeliest label is the answer, however unlikely.
        several: which labels are the answer, where rows carry several; None: they carry one.
        vocabulary: the n-grams of the F words' features; empty without them.
        tensors: `coefficients` [C, D + F], `intercept` [C] and, with words, `idf` [F].
        rows: what `assay.models.lineage.rows_of` knows the training rows by; None: not kept.
    """

    labels: tuple[str, ...]
    settings: HeadSettings
    embedder: str
    identity: str
    temperature: float = 1.0
    doubt: Doubt | None = None
    several: Several | None = None
    vocabulary: tuple[str, ...] = ()
    tensors: dict[str, Array] = field(default_factory=dict)
    rows: str | None = None

    @property
    def dimension(self) -> int:
        """D, the length of the embedder's vectors."""
        return int(self.tensors["coefficients"].shape[1]) - len(self.vocabulary)

    def scores(self, texts: Sequence[str], vectors: Vectors) -> Array:
        """[N, C] unnormalised logarithms before the temperature.

        Args:
            vectors: [N, D] of the texts, by `HeadSettings.embed`.
        """
        scores = vectors.astype(np.float64) @ self._of_vector
        if self._words is not None:
            scores += self.settings.words * (self._words.transform(texts) @ self._of_words)
        return np.asarray(scores + self.tensors["intercept"])

    def log_probabilities(self, texts: Sequence[str], vectors: Vectors) -> Array:
        """[N, C] natural logarithms, float64; see `scores`. They sum to 1 for one label a row."""
        return self._logarithms(self.scores(texts, vectors) / self.temperature)

    @property
    def _logarithms(self) -> Callable[[Array], Array]:
        return log_softmax if self.several is None else log_sigmoid

    def answers(self, texts: Sequence[str], vectors: Vectors) -> list[tuple[str, float]]:
        """The label of each text, see `choose`."""
        return self.choose(self.log_probabilities(texts, vectors))

    def choose(self, logs: Array) -> list[tuple[str, float]]:
        """The label of each row of `log_probabilities` and the natural logarithm of its
        probability; of several labels a JSON list."""
        if self.several is not None:
            return self.several.answers(self.labels, logs)
        found = []
        for row in logs:
            best = int(row.argmax())
            label, log = self.labels[best], min(0.0, float(row[best]))
            doubt = self.doubt
            if doubt is not None and label != doubt.label and math.exp(log) < doubt.threshold:
                label, log = doubt.label, math.log1p(-math.exp(log))
            found.append((label, log))
        return found

    @cached_property
    def _of_vector(self) -> Array:
        """[D, C], float64."""
        ours = self.tensors["coefficients"][:, : self.dimension]
        return np.ascontiguousarray(ours.T, dtype=np.float64)

    @cached_property
    def _of_words(self) -> Array:
        """[F, C], float64, as a sparse product takes it without a copy."""
        ours = self.tensors["coefficients"][:, self.dimension :]
        return np.ascontiguousarray(ours.T, dtype=np.float64)

    @cached_property
    def _words(self) -> TfidfVectorizer | None:
        if not self.settings.words:
            return None
        [words] = restore_vectorizers(WORDS, [self.vocabulary], self.tensors["idf"])
        return words


def fit_head(
    train: Sequence[Example],
    vectors: Vectors,
    settings: HeadSettings,
    embedder: Embedder,
    lists: bool = False,
) -> EmbeddingClassifier:
    """Learn from examples and the vectors [len(train), D] of their inputs, by `settings.embed`.

    Args:
        lists: an answer is a JSON list of labels.

    Raises:
        DataError: fewer than two labels, an answer that is no list where all should be, or no
            words where words are asked for.
    """
    from scipy.sparse import csr_matrix, hstack

    several = None
    if lists:
        labels, carried = members(train)
        several = Several(may_be_empty=not carried.any(axis=1).all())
    else:
        labels = at_least_two(train)
    features: Any = vectors.astype(np.float64)
    vocabulary: tuple[str, ...] = ()
    tensors = {}
    if settings.words:
        [words] = new_vectorizers(WORDS)
        try:
            counted = words.fit_transform([example.input for example in train])
        except ValueError:  # scikit-learn's "empty vocabulary"
            raise DataError("the inputs of the training examples contain no words.") from None
        features = hstack([csr_matrix(features), settings.words * counted], format="csr")
        vocabulary, tensors["idf"] = tuple(words.get_feature_names_out()), words.idf_
    if lists:
        weights = [example.weight for example in train]
        coefficients, intercept = fit_each(features, carried, settings.strength, weights)
    else:
        coefficients, intercept = fit_labels(features, train, labels, settings.strength)
    tensors |= {"coefficients": coefficients.astype(np.float32), "intercept": intercept}
    return EmbeddingClassifier(
        labels,
        settings,
        embedder.name,
        embedder.identity,
        several=several,
        vocabulary=vocabulary,
        tensors=tensors,
    )


def set_temperature(
    model: EmbeddingClassifier, validation: Sequence[Example], vectors: Vectors
) -> EmbeddingClassifier:
    """With the temperature that makes the rows' labels likeliest (Guo et al. 2017,
    arXiv 1706.04599); rows of a label it does not know are left out."""
    from scipy.optimize import minimize_scalar

    held = [_labels_of(model, e.output) for e in validation]
    rows = [place for place, labels in enumerate(held) if labels.issubset(model.labels)]
    if not rows:
        return model
    scores = model.scores([validation[r].input for r in rows], vectors[rows])
    right = np.array([[label in held[r] for label in model.labels] for r in rows])
    if model.several is not None:  # that a label does not hold is an outcome of its own
        scores = np.where(right, scores, -scores)
        right[:] = True

    def loss(log_temperature: float) -> float:
        logs = model._logarithms(scores / math.exp(log_temperature))
        return -float(logs[right].mean())

    bounds = (math.log(COOLEST), math.log(HOTTEST))
    best = minimize_scalar(loss, bounds=bounds, method="bounded")
    return replace(model, temperature=math.exp(float(best.x)))


def _labels_of(model: EmbeddingClassifier, output: str) -> frozenset[str]:
    if model.several is None:
        return frozenset([output])
    return read_list(output) or frozenset()


def set_doubt(
    model: EmbeddingClassifier, label: str, validation: Sequence[Example], vectors: Vectors
) -> EmbeddingClassifier:
    """With the threshold under which `label` is the answer that is right for most of the rows.

    A tie goes to the lowest; where none is better than no threshold, there is none.
    """
    plain = replace(model, doubt=None)
    answers = plain.answers([e.input for e in validation], vectors)
    others = sorted(
        (math.exp(log), (e.output == label) - (e.output == given))
        for (given, log), e in zip(answers, validation, strict=True)
        if given != label
    )
    gained, best, threshold = 0, 0, 0.0
    for (chance, gain), following in zip(others, [*others[1:], (1.0, 0)], strict=True):
        gained += gain
        if gained > best and chance < following[0]:
            best, threshold = gained, (chance + following[0]) / 2
    return replace(plain, doubt=Doubt(label, threshold)) if threshold else plain


def dump_embedding_classifier(model: EmbeddingClassifier) -> bytes:
    """A model as a blob, see `dump_tensors`."""
    document = {
        "labels": model.labels,
        "settings": asdict(model.settings),
        "embedder": model.embedder,
        "identity": model.identity,
        "temperature": model.temperature,
        "doubt": asdict(model.doubt) if model.doubt else None,
        "several": asdict(model.several) if model.several else None,
        "vocabulary": model.vocabulary,
        "rows": model.rows,
    }
    return dump_tensors(FORMAT, document, model.tensors)


def load_embedding_classifier(blob: bytes) -> EmbeddingClassifier:
    """The inverse of `dump_embedding_classifier`.

    Raises:
        ModelError: the blob is none, or is damaged.
    """

    def parse(document: dict[str, Any], tensors: dict[str, Array]) -> EmbeddingClassifier:
        settings = TypeAdapter(HeadSettings).validate_python(document["settings"])
        raw, rows = document["doubt"], document.get("rows")
        doubt = None if raw is None else TypeAdapter(Doubt).validate_python(raw)
        lists = document.get("several")
        several = None if lists is None else TypeAdapter(Several).validate_python(lists)
        labels, vocabulary = map(read_texts, (document["labels"], document["vocabulary"]))
        embedder, identity = read_texts([document["embedder"], document["identity"]])
        shapes: dict[str, tuple[int, ...]] = {
            "coefficients": (len(labels), -1),
            "intercept": (len(labels),),
        }
        check_arrays(tensors, shapes | ({"idf": (len(vocabulary),)} if settings.words else {}))
        made = EmbeddingClassifier(
            labels,
            settings,
            embedder,
            identity,
            float(document["temperature"]),
            doubt,
            several,
            vocabulary,
            tensors,
            rows and str(rows),
        )
        is_sound = made.temperature > 0 and (doubt is None or 0 < doubt.threshold <= 1)
        if not (labels and made.dimension > 0 and is_sound):
            raise ValueError("its numbers are not valid")
        made.answers([""], np.zeros((1, made.dimension), dtype=np.float32))
        return made

    return load_tensors(blob, FORMAT, "classifier", parse)


class EmbeddingEngine:
    """Answers with a label of the classifier; tokens are not counted.

    Raises:
        ModelError: the embedder is not the one that the classifier has learned from.
    """

    def __init__(self, model: EmbeddingClassifier, embedder: Embedder) -> None:
        if (embedder.identity, embedder.dimension) != (model.identity, model.dimension):
            raise ModelError(
                "this embedder is not the one that the classifier was trained with.",
                where=model.embedder,
                fix="Restore its original files, or train the classifier again with "
                f"{Step.COMPARE}.",
            )
        self.model, self.embedder = model, embedder
        self._sha256 = hashlib.sha256(dump_embedding_classifier(model)).hexdigest()

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request."""
        return {
            "engine": "embedded",
            "weights": self._sha256,
            "embedder": self.embedder.identity,
            "scikit-learn": version("scikit-learn"),
            "torch": version("torch"),
        }

    def prompt_length(self, request: Request) -> int:
        """0: nothing is counted in tokens."""
        return 0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """A label for the text of each request, system turns left out.

        Its `logprob` is the natural logarithm of the label's predicted probability.
        """
        if not requests:
            return []
        texts = [request.input for request in requests]
        with progress.task("classifying", len(requests), "answers") as task:
            vectors = self.model.settings.embed(self.embedder, texts)
            logs = self.model.log_probabilities(texts, vectors)
            found = self.model.choose(logs)
            task.advance(len(requests))
        labels = self.model.labels
        others = logs if self.model.several is None else [()] * len(logs)
        return [
            choice(request, label, log, zip(labels, row, strict=False))
            for request, (label, log), row in zip(requests, found, others, strict=True)
        ]


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The engine of a stored classifier; see `assay.generate.registry`."""
    classifier = load_embedding_classifier(blobs.get(resources.store, model.removeprefix(SCHEME)))
    return EmbeddingEngine(classifier, open_embedder(classifier.embedder, resources.store))
