"""Passages for a query: by words (BM25), by meaning (vectors), or by both.

Both lists are fused by their ranks (reciprocal rank fusion, Cormack, Clarke and Büttcher 2009,
SIGIR), or by a weighted mean of their scores, each as a share of what is possible: the cosine, and
the BM25 score over the best one for this query (Bruch, Gai and Ingber 2023, TOIS 42:20). Which is
best depends on the documents: fusion hurts where one list is weak. A cross-encoder may read the
best ones again, beside the question (Nogueira and Cho 2019, arXiv:1901.04085).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from assay.errors import UsageError
from assay.models.embed import Vectors

Mode = Literal["bm25", "dense", "hybrid"]
RRF_CONSTANT = 60
POOL = 50
"""So many passages, at least, come from each list to be fused, or are ordered anew."""
MOST = 1000
Reread = Callable[[str, Sequence[str]], Sequence[float]]
"""How well each text answers a query (`assay.models.embed.Reranker.scores`)."""
COLUMNS = ["id", "document", "page", "heading", "indexed", "start"]


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that was found.

    Attributes:
        document: what the document is called: the path its file was added by.
        page: from 1; None where the format has no pages.
        heading: the headings above it, outermost first, joined by " > ".
        score: by the mode of the search: BM25 score, cosine, or fused, or the cross-encoder's;
            larger is better.
        id: of the passage, the same as long as the document's content is.
    """

    document: str
    page: int | None
    heading: str | None
    text: str
    score: float
    id: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class IndexedPassage:
    """A passage as it was embedded.

    Attributes:
        text: title and headings, then the passage itself.
        reread: as a cross-encoder reads it.
        vector: [dimension], of length 1.
    """

    document: str
    text: str
    reread: str
    vector: Vectors


@dataclass(frozen=True, slots=True)
class Search:
    """How passages are found.

    Attributes:
        k: how many at most.
        weight: of the vectors in a hybrid search, 0 to 1; None fuses by ranks.
        threshold: passages below it are left out: a BM25 score in mode bm25, else a cosine.
        labels: only passages of documents with one of these; None is all.
        seen: the labels of whoever asks: only what is in a document with one of these, too.
    """

    k: int
    mode: Mode = "hybrid"
    weight: float | None = None
    threshold: float | None = None
    labels: frozenset[str] | None = None
    seen: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UsageError(f"{self.mode!r} is not a search mode.", fix="Use bm25, dense, hybrid.")
        if not 1 <= self.k <= MOST:
            raise UsageError(f"{self.k} passages were requested.", fix=f"Request 1 to {MOST}.")
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise UsageError(f"{self.weight} is not a weight.", fix="Give a number from 0 to 1.")


@dataclass(slots=True)
class _Match:
    """A candidate: where its row is, and what is known of it from either list."""

    rows: Any
    place: int
    bm25: float = 0.0
    cosine: float = 0.0
    fused: float = 0.0


def find(table: Any, query: str, vector: Vectors | None, search: Search) -> list[Passage]:
    """The passages of one query, best first; none where nothing is relevant enough.

    Args:
        vector: [dimension], of length 1; None in mode bm25.
    """
    if any(labels is not None and not labels for labels in (search.labels, search.seen)):
        return []
    deep = search.k if search.mode != "hybrid" else max(POOL, 3 * search.k)
    found: dict[str, _Match] = {}
    if search.mode != "dense":
        rows = _by_words(table, query, deep, search)
        bm25, cosines = rows["_score"].to_numpy(), _cosines(rows, vector)
        for place, id in enumerate(rows["id"].to_pylist()):
            fused = 1 / (RRF_CONSTANT + place + 1)
            found[id] = _Match(rows, place, float(bm25[place]), float(cosines[place]), fused)
    if vector is not None:
        rows = _by_meaning(table, vector, deep, search)
        cosines = 1 - rows["_distance"].to_numpy()
        for place, id in enumerate(rows["id"].to_pylist()):
            one = found.setdefault(id, _Match(rows, place))
            one.cosine = float(cosines[place])
            one.fused += 1 / (RRF_CONSTANT + place + 1)
    if search.mode == "hybrid" and search.weight is not None:
        highest = max((one.bm25 for one in found.values()), default=0.0) or 1.0
        for one in found.values():
            meaning, words = max(one.cosine, 0.0), one.bm25 / highest
            one.fused = search.weight * meaning + (1 - search.weight) * words
    scored = [
        (_score(one, search.mode), id, one) for id, one in found.items() if _relevant(one, search)
    ]
    scored.sort(key=lambda candidate: (-candidate[0], candidate[1]))
    return [_passage(one, score) for score, _, one in scored[: search.k]]


def reordered(query: str, found: Sequence[Passage], reread: Reread) -> list[Passage]:
    """Passages in the order of a cross-encoder, whose scores are then theirs."""
    scores = reread(query, [_reread_text(p.heading, p.text) for p in found])
    again = [replace(p, score=score) for p, score in zip(found, scores, strict=True)]
    return sorted(again, key=lambda passage: -passage.score)


def _reread_text(heading: str | None, text: str) -> str:
    return "\n".join(filter(None, (heading, text)))


def passages_of(table: Any, document: str) -> list[Passage]:
    """All passages of a document, in the order of its text; nothing was asked: their score is 0."""
    from lancedb.expr import col, lit

    asked = table.search().where(col("document") == lit(document)).select([*COLUMNS, "ordinal"])
    rows = sorted(asked.limit(table.count_rows()).to_list(), key=lambda row: row["ordinal"])
    return [_from_row(row, 0.0) for row in rows]


def indexed_passages(table: Any) -> list[IndexedPassage]:
    """All passages of a table, ordered by document and place."""
    columns = ["document", "ordinal", "heading", "indexed", "start", "vector"]
    found: list[tuple[int, IndexedPassage]] = []
    for part in table.search().select(columns).to_batches(4096):
        flat = part.column("vector").flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(part.num_rows, -1)
        texts = zip(*(part.column(name).to_pylist() for name in columns[:-1]), strict=True)
        for (name, place, heading, text, start), vector in zip(texts, vectors, strict=True):
            reread = _reread_text(heading, text[start:])
            found.append((place, IndexedPassage(name, text, reread, vector)))
    found.sort(key=lambda one: (one[1].document, one[0]))
    return [passage for _, passage in found]


def _by_words(table: Any, query: str, k: int, search: Search) -> Any:
    from lancedb.query import MatchQuery

    # As a text it would be read as a query: between quotation marks as a phrase, for which the
    # index holds no positions.
    asked = table.search(MatchQuery(query, "indexed"), query_type="fts")
    # A cosine of what only this list has found is needed to weigh it or to leave it out.
    weighed = search.mode == "hybrid" and (search.weight, search.threshold) != (None, None)
    return _limited(asked.select([*COLUMNS, "_score", *(["vector"] if weighed else [])]), k, search)


def _by_meaning(table: Any, vector: Vectors, k: int, search: Search) -> Any:
    asked = table.search(vector, vector_column_name="vector").distance_type("dot")
    return _limited(asked.select([*COLUMNS, "_distance"]), k, search)


def _limited(asked: Any, k: int, search: Search) -> Any:
    """The first k rows, as an Arrow table."""
    allowed = [_has_any(labels) for labels in (search.labels, search.seen) if labels is not None]
    if allowed:  # before ranking: k passages that may be seen
        asked = asked.where(" AND ".join(allowed), prefilter=True)
    return asked.limit(k).to_arrow()


def _has_any(labels: frozenset[str]) -> str:
    quoted = ", ".join("'" + label.replace("'", "''") + "'" for label in sorted(labels))
    return f"array_has_any(labels, [{quoted}])"


def _cosines(rows: Any, vector: Vectors | None) -> Vectors:
    """[rows], zero where the rows have no vectors."""
    if vector is None or "vector" not in rows.column_names or not rows.num_rows:
        return np.zeros(rows.num_rows, dtype=np.float32)
    flat = rows["vector"].combine_chunks().flatten().to_numpy()
    cosines: Vectors = flat.reshape(rows.num_rows, -1) @ vector
    return cosines


def _score(one: _Match, mode: Mode) -> float:
    return {"bm25": one.bm25, "dense": one.cosine, "hybrid": one.fused}[mode]


def _relevant(one: _Match, search: Search) -> bool:
    if search.threshold is None:
        return True
    return (one.bm25 if search.mode == "bm25" else one.cosine) >= search.threshold


def _passage(one: _Match, score: float) -> Passage:
    [row] = one.rows.select(COLUMNS).slice(one.place, 1).to_pylist()
    return _from_row(row, score)


def _from_row(row: dict[str, Any], score: float) -> Passage:
    return Passage(
        document=row["document"],
        page=row["page"],
        heading=row["heading"],
        text=row["indexed"][row["start"] :],
        score=score,
        id=row["id"],
    )
