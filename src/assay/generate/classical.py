"""Classical baselines: one answer to everything, and TF-IDF + logistic regression for labels.

They cost next to nothing to train and to serve, so every other candidate has to beat them. A model
is kept as one safetensors blob whose metadata holds a JSON document; nothing is pickled, and a
model that was read back predicts bit for bit what it did before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from assay.errors import DataError, Step
from assay.example import Example
from assay.generate.batch import Answer, BatchEngine, Request, choice
from assay.generate.logistic import fit_logistic, log_softmax
from assay.generate.registry import EngineResources
from assay.models.tensor_blob import (
    Array,
    check_arrays,
    dump_tensors,
    load_tensors,
    read_texts,
)
from assay.progress import SILENT, Progress
from assay.store import blobs

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

FORMAT = "assay-classical-1"
WORD = r"(?u)\b\w+\b"
"""One-letter words count too: "I" and "a" tell apart what was asked."""


@dataclass(frozen=True, slots=True)
class TfidfSettings:
    """How texts become features and how strongly the classifier is held back.

    Attributes:
        word: shortest and longest n-gram of words, None for no words.
        char: shortest and longest n-gram of characters within words, None for none.
        strength: inverse of the regularisation (scikit-learn's C).
        sublinear: 1 + log(count) in place of the count.
    """

    word: tuple[int, int] | None = (1, 2)
    char: tuple[int, int] | None = None
    strength: float = 10.0
    sublinear: bool = True

    def __str__(self) -> str:
        parts = [
            f"{name} {span[0]}-{span[1]}"
            for name, span in (("words", self.word), ("characters", self.char))
            if span
        ]
        return f"{' + '.join(parts)}, C={self.strength:g}"


TFIDF_GRID: tuple[TfidfSettings, ...] = (
    TfidfSettings(word=(1, 1), strength=10),
    TfidfSettings(word=(1, 2), strength=100),
    TfidfSettings(word=(1, 1), char=(1, 4), strength=10),
    TfidfSettings(word=(1, 2), char=(2, 5), strength=10),
    TfidfSettings(word=(1, 2), char=(2, 5), strength=100),
)
"""Settings to choose from on validation, the cheapest first."""


@dataclass(frozen=True)
class ClassicalModel:
    """What a baseline has learned.

    Attributes:
        labels: the classes, in order of the probabilities.
        settings: of the features; None for the one answer that is given to everything.
        vocabulary: the n-grams, one list for each feature set (words, then characters).
        tensors: `prior` [C], or `idf` [F], `coefficients` [C, F] and `intercept` [C].
        rows: what `assay.models.lineage.rows_of` knows the training rows by; None: not kept.
    """

    labels: tuple[str, ...]
    settings: TfidfSettings | None
    vocabulary: tuple[tuple[str, ...], ...] = ()
    tensors: dict[str, Array] = field(default_factory=dict)
    rows: str | None = None

    @property
    def kind(self) -> Literal["constant", "tfidf"]:
        """Which of the two baselines it is."""
        return "tfidf" if self.settings else "constant"

    def log_probabilities(self, texts: Sequence[str]) -> Array:
        """[len(texts), C] natural logarithms, float64."""
        if self.settings is None:
            prior: Array = np.log(self.tensors["prior"])
            return np.tile(prior, (len(texts), 1))
        scores = self._features(texts) @ self.tensors["coefficients"].T.astype(np.float64)
        return log_softmax(np.asarray(scores) + self.tensors["intercept"])

    def _features(self, texts: Sequence[str]) -> csr_matrix:
        from scipy.sparse import hstack

        features: csr_matrix = hstack(
            [part.transform(texts) for part in self._vectorizers], format="csr"
        )
        return features

    @cached_property
    def _vectorizers(self) -> list[TfidfVectorizer]:
        assert self.settings is not None
        return restore_vectorizers(self.settings, self.vocabulary, self.tensors["idf"])


def fit_constant(answers: Sequence[str], answer: str) -> ClassicalModel:
    """The same answer to everything; its probability is Laplace's estimate of its share.

    Args:
        answers: of the training rows.
    """
    prior = np.array([(answers.count(answer) + 1) / (len(answers) + 2)])
    return ClassicalModel((answer,), None, tensors={"prior": prior})


def fit_tfidf(train: Sequence[Example], settings: TfidfSettings) -> ClassicalModel:
    """TF-IDF features and multinomial logistic regression; the same data give the same model.

    Raises:
        DataError: fewer than two labels, or no text to learn from.
    """
    from scipy.sparse import hstack

    labels = at_least_two(train)
    parts = new_vectorizers(settings)
    texts = [example.input for example in train]
    try:
        features = hstack([part.fit_transform(texts) for part in parts], format="csr")
    except ValueError:  # scikit-learn's "empty vocabulary"
        raise DataError(
            "the inputs of the training examples contain no words.",
            fix=f"{Step.SHOW_DATA} shows them.",
        ) from None
    coefficients, intercept = fit_labels(features, train, labels, settings.strength)
    return ClassicalModel(
        labels,
        settings,
        tuple(tuple(part.get_feature_names_out()) for part in parts),
        {
            "idf": np.concatenate([part.idf_ for part in parts]),
            "coefficients": coefficients.astype(np.float32),
            "intercept": intercept,
        },
    )


def fit_labels(
    features: Array | csr_matrix, train: Sequence[Example], labels: Sequence[str], strength: float
) -> tuple[Array, Array]:
    """`fit_logistic` of the examples' labels, each row by its weight."""
    number = {label: i for i, label in enumerate(labels)}
    targets, weights = [number[e.output] for e in train], [e.weight for e in train]
    return fit_logistic(features, targets, strength, weights)


def at_least_two(train: Sequence[Example]) -> tuple[str, ...]:
    """The labels of training rows, sorted.

    Raises:
        DataError: fewer than two.
    """
    labels = tuple(sorted(set(_labels(train))))
    if len(labels) < 2:
        raise DataError(
            f"all {len(train)} training examples have the label {labels[0]!r}.",
            fix="A classifier needs examples of at least two labels.",
        )
    return labels


def _labels(train: Sequence[Example]) -> list[str]:
    if not train:
        raise DataError("there are no training examples.", fix="Add examples to the data file.")
    return [example.output for example in train]


def new_vectorizers(settings: TfidfSettings) -> list[TfidfVectorizer]:
    """What makes the features, nothing learned yet: of words, then of characters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    shared = {"sublinear_tf": settings.sublinear, "lowercase": True}
    parts = []
    if settings.word:
        parts.append(TfidfVectorizer(ngram_range=settings.word, token_pattern=WORD, **shared))
    if settings.char:
        parts.append(TfidfVectorizer(ngram_range=settings.char, analyzer="char_wb", **shared))
    return parts


def restore_vectorizers(
    settings: TfidfSettings, vocabulary: Sequence[Sequence[str]], idf: Array
) -> list[TfidfVectorizer]:
    """Vectorizers as they were once fitted.

    Args:
        vocabulary: the n-grams of each.
        idf: [F], of all of them in a row.
    """
    parts = new_vectorizers(settings)
    start = 0
    for part, terms in zip(parts, vocabulary, strict=True):
        part.vocabulary = list(terms)
        part.idf_ = idf[start : start + len(terms)]
        start += len(terms)
    return parts


def dump_classical(model: ClassicalModel) -> bytes:
    """A model as a blob, see `dump_tensors`."""
    document = {
        "labels": model.labels,
        "settings": asdict(model.settings) if model.settings else None,
        "vocabulary": model.vocabulary,
        "rows": model.rows,
    }
    return dump_tensors(FORMAT, document, model.tensors)


def load_classical(blob: bytes) -> ClassicalModel:
    """The inverse of `dump_classical`.

    Raises:
        ModelError: the blob is none, or is damaged.
    """

    def parse(document: dict[str, Any], tensors: dict[str, Array]) -> ClassicalModel:
        raw = document["settings"]
        settings = raw and TfidfSettings(
            word=raw["word"] and tuple(raw["word"]),
            char=raw["char"] and tuple(raw["char"]),
            strength=raw["strength"],
            sublinear=raw["sublinear"],
        )
        vocabulary = tuple(read_texts(terms) for terms in document["vocabulary"])
        labels, rows = read_texts(document["labels"]), document.get("rows")
        terms = sum(map(len, vocabulary))
        wide = {"idf": (terms,), "coefficients": (len(labels), terms), "intercept": (len(labels),)}
        check_arrays(tensors, {"prior": (len(labels),)} if settings is None else wide)
        model = ClassicalModel(labels, settings, vocabulary, tensors, rows and str(rows))
        model.log_probabilities([""]).argmax(axis=1)  # fails here rather than at a request
        return model

    return load_tensors(blob, FORMAT, "classical model", parse)


class ClassicalEngine:
    """Answers with the likeliest label; tokens are not counted."""

    def __init__(self, model: ClassicalModel) -> None:
        self.model = model
        self._sha256 = hashlib.sha256(dump_classical(model)).hexdigest()

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request."""
        return {
            "engine": "classical",
            "model": self.model.kind,
            "weights": self._sha256,
            "scikit-learn": version("scikit-learn"),
        }

    def prompt_length(self, request: Request) -> int:
        """0: nothing is counted in tokens."""
        return 0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """The likeliest label for the text of each request, system turns left out.

        Its `logprob` is the natural logarithm of the label's predicted probability.
        """
        if not requests:
            return []
        with progress.task("classifying", len(requests), "answers") as task:
            logs = self.model.log_probabilities([request.input for request in requests])
            task.advance(len(requests))
        labels = self.model.labels
        best = logs.argmax(axis=1)
        return [
            choice(request, labels[i], min(0.0, float(row[i])), zip(labels, row, strict=True))
            for request, row, i in zip(requests, logs, best, strict=True)
        ]


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The engine of a stored classical model; see `assay.generate.registry`."""
    return ClassicalEngine(
        load_classical(blobs.get(resources.store, model.removeprefix("classical:")))
    )
