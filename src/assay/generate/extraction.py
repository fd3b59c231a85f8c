"""`extract:BLOB`: a record, each field by what finds it best, without a language model.

A field is found by a classifier over its values (of the embedding or of counted words), by a tagger
that marks its words in the text, or in the record of the most similar row. What does not follow the
request's schema is not given: the record of the most similar row that does takes its place.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np

from assay import json_reader
from assay.data.json_schema import mismatches, schema_validator
from assay.generate.batch import Answer, BatchEngine, Request
from assay.generate.fields import ABSENT, FieldPath, fields_of, record_of
from assay.generate.nearest import check_embedder, check_places, round_likeness
from assay.generate.registry import EngineResources
from assay.generate.tagger import Tagger
from assay.models.embed import Embedder, Vectors, get_embedder
from assay.models.tensor_blob import (
    Array,
    check_arrays,
    dump_tensors,
    load_tensors,
    read_texts,
)
from assay.progress import SILENT, Progress
from assay.store import blobs

FORMAT = "assay-extract-1"
Method = Literal["words", "embedding", "spans", "nearest"]
Form = Literal["text", "number", "list"]
"""Of a field's values that stand in the input: a text, a number, a list of texts."""
MOST_TRIED = 200
"""Records, the most similar first, that are held against a schema that the found one misses."""
WORD_PLACES = 2**14
"""Of counted words, see `word_features`."""
_TAG = re.compile(r"O|[BI]-\d{1,9}")


@dataclass(frozen=True)
class Field:
    """How a field is found.

    Attributes:
        path: of names, outermost first.
        method: the classifier's features, or who else finds it.
        classes: values to choose from, of a classifier.
        coefficients: [C, F] of a classifier; [0, 0] of others.
        intercept: [C].
        form: of its values, where they are spans.
        is_optional: some rows do not have it.
    """

    path: FieldPath
    method: Method
    classes: tuple[str, ...]
    coefficients: Array
    intercept: Array
    form: Form
    is_optional: bool


@dataclass(frozen=True)
class ExtractModel:
    """What has been learned of a record's fields.

    Attributes:
        embedder, identity: name and hash of the model that measures likeness.
        fields: in the order of the record.
        objects: paths of those that a record has, be they empty or not.
        answers: distinct records of the rows, as text.
        places: [N] which of them a row has.
        vectors: [N, D] float32, of length 1, of the rows' inputs.
        tagger: marks the spans of fields, by their number in `fields`; None: there are none.
        rows: what `assay.models.lineage.rows_of` knows the rows by.
    """

    embedder: str
    identity: str
    fields: tuple[Field, ...]
    objects: tuple[FieldPath, ...]
    answers: tuple[str, ...]
    places: Array
    vectors: Vectors
    tagger: Tagger | None
    rows: str


def word_features(texts: Sequence[str]) -> Any:
    """[len(texts), 16384] CSR: words and pairs of them, counted by hash, of length 1."""
    from sklearn.feature_extraction.text import HashingVectorizer

    counter = HashingVectorizer(
        n_features=WORD_PLACES, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b"
    )
    return counter.transform(texts)


def classify(field: Field, features: Any) -> list[str]:
    """The likeliest value of a classifier's field for each row of [n, F] features."""
    scores = round_likeness(np.asarray(features @ field.coefficients.T) + field.intercept)
    return [field.classes[best] for best in scores.argmax(axis=1)]


def read_spans(field: Field, text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The value that stands at these places of a text; absent where it stands nowhere."""
    found = [text[start:end] for start, end in spans]
    if not found:
        return ABSENT
    if field.form == "number":
        number = found[0].replace(",", "")
        return number if _is_number(number) else ABSENT
    return json.dumps(found if field.form == "list" else found[0], ensure_ascii=False)


def _is_number(text: str) -> bool:
    try:
        value = json_reader.read(text)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    except (ValueError, OverflowError):  # an integer beyond what a float holds
        return False


class ExtractEngine:
    """Answers with records; tokens are not counted.

    Args:
        sha256: of the model's blob.

    Raises:
        ModelError: the embedder is not the one of the rows.
    """

    def __init__(self, model: ExtractModel, embedder: Embedder, sha256: str) -> None:
        check_embedder(embedder, model.embedder, model.identity)
        self.model, self._embedder, self._sha256 = model, embedder, sha256
        self._known = lru_cache(maxsize=1024)(self._fields)
        self._fitting = lru_cache(maxsize=512)(self._fits)

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request."""
        return {
            "engine": "extract",
            "model": self._sha256,
            "embedder": self._embedder.identity,
        }

    def prompt_length(self, request: Request) -> int:
        """0: nothing is counted in tokens."""
        return 0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """A record for the text of each request, system turns left out.

        One whose schema none of the `MOST_TRIED` most similar records follows is refused.
        """
        if not requests:
            return []
        texts = [request.input for request in requests]
        vectors = self._embedder.encode(texts)
        with progress.task("extracting", len(requests), "answers") as task:
            answers = []
            found = self.values(texts, vectors)
            for request, vector, fields in zip(requests, vectors, found, strict=True):
                answers.append(self._answer(request, vector, fields))
                task.advance()
        return answers

    def values(self, texts: Sequence[str], vectors: Vectors) -> list[dict[FieldPath, str]]:
        """The fields of each text, without regard to a schema.

        Args:
            vectors: [len(texts), D], of length 1.
        """
        if not texts:
            return []
        model = self.model
        nearest = [next(self._order(vector)) for vector in vectors]
        chosen: dict[FieldPath, list[str]] = {}
        words = None
        tags: list[Mapping[int, list[tuple[int, int]]]] = []
        for number, field in enumerate(model.fields):
            if field.method == "embedding":
                chosen[field.path] = classify(field, vectors)
            elif field.method == "words":
                words = word_features(texts) if words is None else words
                chosen[field.path] = classify(field, words)
            elif field.method == "spans" and model.tagger is not None:
                tags = tags or [model.tagger.spans(text) for text in texts]
                chosen[field.path] = [
                    read_spans(field, text, tagged.get(number, ()))
                    for text, tagged in zip(texts, tags, strict=True)
                ]
        return [
            {field.path: self._value(field, chosen, row, place) for field in model.fields}
            for row, place in enumerate(nearest)
        ]

    def _value(
        self, field: Field, chosen: Mapping[FieldPath, list[str]], row: int, nearest: int
    ) -> str:
        value = chosen[field.path][row] if field.path in chosen else ABSENT
        if field.path in chosen and (value != ABSENT or field.is_optional):
            return value
        return self._known(nearest).get(field.path, ABSENT)

    def _answer(self, request: Request, vector: Vectors, fields: dict[FieldPath, str]) -> Answer:
        record = record_of(fields, self.model.objects)
        if request.schema is None:
            return Answer(json.dumps(record, ensure_ascii=False))
        schema = json.dumps(request.schema)
        if _follows(record, schema):
            return Answer(json.dumps(record, ensure_ascii=False))
        for place in islice(self._order(vector), MOST_TRIED):
            if self._fitting(place, schema):
                return Answer(self.model.answers[place])
        error = "no similar training record follows the requested schema"
        return Answer("", finish="refused", error=error)

    def _order(self, vector: Vectors) -> Iterator[int]:
        """Places of distinct records, that of the most similar row first."""
        likeness = round_likeness(self.model.vectors @ vector)
        yield int(self.model.places[likeness.argmax()])
        order = np.argsort(-likeness, kind="stable")
        yield from dict.fromkeys(self.model.places[order].tolist())

    def _fields(self, place: int) -> dict[FieldPath, str]:
        return fields_of(json_reader.read(self.model.answers[place]))

    def _fits(self, place: int, schema: str) -> bool:
        return _follows(json_reader.read(self.model.answers[place]), schema)


def _follows(record: Any, schema: str) -> bool:
    return next(mismatches(_validator(schema), record, "the schema"), None) is None


@lru_cache(maxsize=16)
def _validator(schema: str) -> Any:
    return schema_validator(json_reader.read(schema), "the schema")


def dump_extract(model: ExtractModel) -> bytes:
    """A model as a blob, see `dump_tensors`."""
    tagger = model.tagger
    document = {
        "embedder": model.embedder,
        "identity": model.identity,
        "fields": [
            {
                "path": field.path,
                "method": field.method,
                "classes": field.classes,
                "form": field.form,
                "is_optional": field.is_optional,
            }
            for field in model.fields
        ],
        "objects": model.objects,
        "answers": model.answers,
        "tagger": tagger and {"tags": tagger.tags, "features": tagger.features},
        "rows": model.rows,
    }
    tensors: dict[str, Array] = {"places": model.places, "vectors": model.vectors}
    for number, field in enumerate(model.fields):
        tensors[f"{number}.coefficients"] = field.coefficients
        tensors[f"{number}.intercept"] = field.intercept
    if tagger is not None:
        for name in ("weights", "transitions", "intercept"):
            tensors[f"tagger.{name}"] = getattr(tagger, name)
    return dump_tensors(FORMAT, document, tensors)


def load_extract(blob: bytes) -> ExtractModel:
    """The inverse of `dump_extract`.

    Raises:
        ModelError: the blob is none, or is damaged.
    """

    def parse(document: dict[str, Any], tensors: dict[str, Array]) -> ExtractModel:
        fields = tuple(
            Field(
                path=read_texts(raw["path"]),
                method=raw["method"],
                classes=read_texts(raw["classes"]),
                coefficients=tensors[f"{number}.coefficients"],
                intercept=tensors[f"{number}.intercept"],
                form=raw["form"],
                is_optional=bool(raw["is_optional"]),
            )
            for number, raw in enumerate(document["fields"])
        )
        raw = document["tagger"]
        tagger = raw and Tagger(
            read_texts(raw["tags"]),
            read_texts(raw["features"]),
            tensors["tagger.weights"],
            tensors["tagger.transitions"],
            tensors["tagger.intercept"],
        )
        embedder, identity, rows = read_texts(
            [document[name] for name in ("embedder", "identity", "rows")]
        )
        model = ExtractModel(
            embedder=embedder,
            identity=identity,
            fields=fields,
            objects=tuple(read_texts(path) for path in document["objects"]),
            answers=read_texts(document["answers"]),
            places=tensors["places"],
            vectors=tensors["vectors"],
            tagger=tagger,
            rows=rows,
        )
        _check(model, tensors)
        return model

    return load_tensors(blob, FORMAT, "model that extracts records", parse)


def _check(model: ExtractModel, tensors: Mapping[str, Array]) -> None:
    """See that the parts of a model fit together; ValueError where they do not."""
    shapes: dict[str, tuple[int, ...]] = {"places": (-1,), "vectors": (-1, -1)}
    widths = {"embedding": model.vectors.shape[1], "words": WORD_PLACES}
    for number, field in enumerate(model.fields):
        count = len(field.classes)
        if field.method not in get_args(Method) or field.form not in get_args(Form):
            raise ValueError("there is no such way or form")
        if (field.method in widths) != (count > 0):
            raise ValueError("its classes are others")
        shapes[f"{number}.coefficients"] = (count, widths.get(field.method, 0))
        shapes[f"{number}.intercept"] = (count,)
    if (tagger := model.tagger) is not None:
        tags = len(tagger.tags)
        if not tags or not all(map(_TAG.fullmatch, tagger.tags)):
            raise ValueError("there is no such tag")
        shapes["tagger.weights"] = (len(tagger.features), tags)
        shapes["tagger.transitions"] = (tags + 1, tags)
        shapes["tagger.intercept"] = (tags,)
    check_arrays(tensors, shapes)
    check_places(model.places, model.vectors, model.answers)
    classes = (one for field in model.fields for one in field.classes if one != ABSENT)
    for text in (*model.answers, *classes):
        json_reader.read(text)


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """The engine of what was learned of records; see `assay.generate.registry`."""
    blob = blobs.get(resources.store, model.partition(":")[2])
    found = load_extract(blob)
    return ExtractEngine(found, get_embedder(found.embedder), hashlib.sha256(blob).hexdigest())
