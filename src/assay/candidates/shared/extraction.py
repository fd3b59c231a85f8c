"""Learning the fields of records: each by every way that it allows, and the best on validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from assay import json_reader
from assay.agent.runtime import vectors_of
from assay.candidates.building import Trial
from assay.candidates.spec import Sizes, Workload
from assay.config import Config
from assay.evaluate.graders import parse_json
from assay.example import Example
from assay.generate.extraction import (
    ExtractEngine,
    ExtractModel,
    Field,
    Form,
    Method,
    word_features,
)
from assay.generate.fields import ABSENT, FieldPath, fields_of, usual_objects
from assay.generate.logistic import fit_logistic
from assay.generate.nearest import distinct
from assay.generate.tagger import find, fit_tagger
from assay.models.embed import Vectors, get_embedder
from assay.store.store import Store

MOST_FIELDS = 200
"""Fields that are learned, the most frequent ones."""
MOST_VALUES = 50
"""Distinct values, each seen twice, of a field that is classified."""
LEAST_COVERED = 0.8
"""Share of a field's values that are among these."""
LEAST_FOUND = 0.5
"""Share of a field's values that stand word for word in the input, of one that is tagged."""
STRENGTH, STEPS = 30.0, 300
"""Of the classifiers: inverse of the regularisation (scikit-learn's C), and most of the solver."""


def estimate(config: Config, sizes: Sizes) -> Workload:
    """Every row is embedded once; to learn the fields takes seconds."""
    rows = sizes.train + sizes.validation + sizes.holdout
    return Workload((), 0.0, answered_by="classifier", embedded=rows * sizes.read_tokens)


@dataclass(frozen=True, slots=True)
class RecordRows:
    """Examples with a record, their inputs' vectors, and their fields.

    Attributes:
        embedder: that made the vectors.
    """

    embedder: str
    examples: tuple[Example, ...]
    vectors: Vectors
    values: tuple[Any, ...]
    fields: tuple[dict[FieldPath, str], ...]

    @property
    def texts(self) -> list[str]:
        return [example.input for example in self.examples]


@dataclass(frozen=True, slots=True)
class RecordFit:
    """What was learned, and how.

    Attributes:
        trials: every way of every field, with the share of validation that it got right.
        warnings: what could not be learned.
    """

    model: ExtractModel
    trials: tuple[Trial, ...]
    warnings: tuple[str, ...]


def read_rows(store: Store, examples: Sequence[Example], embedder: str) -> RecordRows:
    """The examples whose answer is JSON, with the vectors of their inputs by an embedder."""
    read = [(example, parse_json(example.output)) for example in examples]
    found = [(example, parsed.value) for example, parsed in read if parsed is not None]
    kept, values = tuple(example for example, _ in found), tuple(value for _, value in found)
    vectors = vectors_of(store, kept, embedder)
    fields = tuple(fields_of(value) for value in values)
    return RecordRows(embedder, kept, vectors, values, fields)


def learn(train: RecordRows, validation: RecordRows, rows: str) -> RecordFit:
    """Learn every way that a field allows, and take the one that is best for it on validation.

    Of ways that find a field equally often the tagger is taken for numbers, as others only answer
    those of the examples; else the first in the order of `Method`.

    Args:
        train: at least one row.
        rows: what `assay.models.lineage.rows_of` knows them by.
    """
    paths, warnings = _paths(train)
    ways = [_ways(train, path) for path in paths]
    tagger = fit_tagger(train.texts, _spans(train, ways))
    answers, places = distinct([example.output for example in train.examples])

    def model_of(fields: Sequence[Field]) -> ExtractModel:
        return ExtractModel(
            embedder=train.embedder,
            identity=get_embedder(train.embedder).identity,
            fields=tuple(fields),
            objects=tuple(usual_objects(train.values)),
            answers=answers,
            places=places,
            vectors=train.vectors,
            tagger=tagger,
            rows=rows,
        )

    shares: list[dict[Method, float]] = [{} for _ in paths]
    for method in get_args(Method):
        everywhere = model_of([way.get(method, way["nearest"]) for way in ways])
        engine = ExtractEngine(everywhere, get_embedder(train.embedder), "")
        found = engine.values(validation.texts, validation.vectors)
        for path, way, share in zip(paths, ways, shares, strict=True):
            if method in way:
                pairs = zip(found, validation.fields, strict=True)
                right = [got[path] == wanted.get(path, ABSENT) for got, wanted in pairs]
                share[method] = sum(right) / max(len(right), 1)
    best = [_best(share, way) for share, way in zip(shares, ways, strict=True)]
    model = model_of([way[method] for way, method in zip(ways, best, strict=True)])
    return RecordFit(model, tuple(_trials(paths, shares, best)), warnings)


def _best(share: Mapping[Method, float], way: Mapping[Method, Field]) -> Method:
    def rank(method: Method) -> tuple[float, bool]:
        return share[method], method == "spans" and way[method].form == "number"

    return max(share, key=rank)


def _paths(train: RecordRows) -> tuple[list[FieldPath], tuple[str, ...]]:
    """Fields that are learned, in the order in which they first appear."""
    counts = Counter(path for fields in train.fields for path in fields)
    seen = {path: count for path, count in counts.items() if count > 1}
    kept = set(sorted(seen, key=lambda path: -seen[path])[:MOST_FIELDS])
    left = len(seen) - len(kept)
    said = f"The {left} least frequent of {len(seen)} fields are never found: they are too many."
    return [path for path in counts if path in kept], (said,) if left else ()


def _ways(train: RecordRows, path: FieldPath) -> dict[Method, Field]:
    """Every way that a field allows, learned; the tagger's is learned for all fields together."""
    texts = [fields.get(path, ABSENT) for fields in train.fields]
    there = [text for text in texts if text != ABSENT]
    is_optional = len(there) < len(texts)
    form = _form(there)
    nothing = np.zeros((0, 0), dtype=np.float32), np.zeros(0, dtype=np.float32)

    def other(method: Method) -> Field:
        return Field(path, method, (), *nothing, form or "text", is_optional)

    ways: dict[Method, Field] = {}
    counts = Counter(texts)
    classes = sorted(value for value, count in counts.items() if count > 1)
    covered = sum(counts[value] for value in classes if value != ABSENT)
    if classes and len(classes) <= MOST_VALUES and covered >= LEAST_COVERED * len(there):
        taken = [row for row, text in enumerate(texts) if text in set(classes)]
        targets = [classes.index(texts[row]) for row in taken]
        weights = [train.examples[row].weight for row in taken]
        features: dict[Method, Callable[[], Any]] = {
            "words": lambda: word_features([train.examples[row].input for row in taken]),
            "embedding": lambda: train.vectors[taken],
        }
        for method, made in features.items():
            coefficients, intercept = (
                array.astype(np.float32)
                for array in fit_logistic(made(), targets, STRENGTH, weights, steps=STEPS)
            )
            ways[method] = Field(
                path, method, tuple(classes), coefficients, intercept, "text", is_optional
            )
    if form is not None:
        pairs = zip(train.texts, train.fields, strict=True)
        rows = [(text, fields[path]) for text, fields in pairs if path in fields]
        found = [all(find(text, one) for one in _parts(value)) for text, value in rows]
        if sum(found) >= LEAST_FOUND * len(found):
            ways["spans"] = other("spans")
    return ways | {"nearest": other("nearest")}


def _form(values: Sequence[str]) -> Form | None:
    """What all of a field's values are; None: of no form that stands in an input."""
    read = [json_reader.read(value) for value in values]
    if all(isinstance(value, str) for value in read):
        return "text"
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in read):
        return "number"
    lists = [value for value in read if isinstance(value, list) and value]
    if len(lists) == len(read) and all(isinstance(one, str) for value in lists for one in value):
        return "list"
    return None


def _parts(value: str) -> list[str]:
    """The texts that a value stands in an input as."""
    read = json_reader.read(value)
    return read if isinstance(read, list) else [read if isinstance(read, str) else value]


def _spans(train: RecordRows, ways: Sequence[Mapping[Method, Field]]) -> list[dict[int, list[str]]]:
    """For each row, what is to be marked in its input, by the number of the field."""
    tagged = {number: way["spans"].path for number, way in enumerate(ways) if "spans" in way}
    return [
        {number: _parts(fields[path]) for number, path in tagged.items() if path in fields}
        for fields in train.fields
    ]


def _trials(
    paths: Sequence[FieldPath], shares: Sequence[Mapping[Method, float]], best: Sequence[Method]
) -> list[Trial]:
    """Every way of every field, with the share of validation that it got right."""
    return [
        Trial(f"{'.'.join(path) or 'the record'} by {method}", share[method], method == chosen)
        for path, share, chosen in zip(paths, shares, best, strict=True)
        for method in share
    ]
