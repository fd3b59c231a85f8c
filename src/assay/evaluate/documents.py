"""What a comparison says of documents, from passages, answers and scores. Pure.

How well documents were found can be said where rows name the one that answers them; the metrics are
those of `evaluate/retrieval.py`, over documents: of several passages of one the best counts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from assay.config.strict import ClosedModel
from assay.evaluate.retrieval import DEPTHS, NDCG_DEPTH, retrieval_scores, summarise
from assay.evaluate.stats import wilson

if TYPE_CHECKING:
    from assay.knowledge.search import Passage

SUPPORTED = 0.8
"""Share of an answer's words that stand in the passages from which on it counts as supported."""
_WORD = re.compile(r"\w+")


class Mean(ClosedModel):
    """A mean over some examples with its 95 % interval; null where there are none."""

    examples: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None


class Retrieval(ClosedModel):
    """How well the documents of the rows were found, over the rows that name one.

    Attributes:
        hits: hit@k by k; of the first k documents, whatever number of passages the agent is given.
        given: how often a passage of the row's document was among those the agent was given.
    """

    hits: dict[str, Mean]
    mrr: Mean
    ndcg_at_10: Mean
    given: Mean


class Support(ClosedModel):
    """Mean score of the answers whose words stand in the passages given, and of the others.

    An answer is supported where at least 0.8 of its words (letters and digits, case not counted)
    stand in the passages that it was given. That is a look at words: it does not know what they
    mean. Answers that abstain or are empty are in neither.
    """

    supported: Mean
    unsupported: Mean


class Share(ClosedModel):
    """`count` of `of`, with the 95 % interval of the share (Wilson); null where `of` is 0."""

    count: int
    of: int
    low: float | None = None
    high: float | None = None


class Abstention(ClosedModel):
    """How often the candidate said that the documents do not tell.

    Attributes:
        unanswerable: of the rows that no document answers (it should).
        answerable: of the rows that name a document (it should not).
    """

    unanswerable: Share
    answerable: Share


def names_of(document: str) -> set[str]:
    """By which a row may mean a document: its path, each end of its path, its bare name."""
    steps = document.split("/")
    ends = {"/".join(steps[first:]) for first in range(len(steps))}
    return ends | {steps[-1].rpartition(".")[0]}


def same_document(named: str, document: str) -> bool:
    """Whether a row means this document."""
    return named in names_of(document)


def documents_by_name(documents: Iterable[str]) -> dict[str, set[str]]:
    """Of documents, which ones a name means: to ask of many rows."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for document in documents:
        for name in names_of(document):
            found[name].add(document)
    return dict(found)


def scores_of_search(
    named: Sequence[str], found: Sequence[Sequence[Passage]]
) -> dict[str, list[float]]:
    """Every metric of every row (`retrieval_scores`).

    Args:
        named: the document of each row.
        found: passages for each row, best first.
    """
    runs = [[passage.document for passage in row] for row in found]
    meant = [
        {document for document in run if same_document(name, document)} or {name}
        for name, run in zip(named, runs, strict=True)
    ]
    return retrieval_scores(runs, meant)


def retrieval_quality(
    named: Sequence[str | None],
    found: Sequence[Sequence[Passage]],
    given: Sequence[Sequence[Passage]],
    groups: Sequence[str] | None,
) -> Retrieval | None:
    """The figures; None where no row names a document.

    Args:
        named: the document of each row; rows with None or "" are left out.
        found: passages for each row, deep enough to hold ten documents.
        given: those of them that the agent was given.
        groups: of the rows, whose intervals are then resampled by group.
    """
    asked = [bool(name) for name in named]
    if not any(asked):
        return None
    names = [name for name in named if name]
    scores = scores_of_search(names, list(compress(found, asked)))
    shown = [
        float(any(same_document(name, passage.document) for passage in row))
        for name, row in zip(names, compress(given, asked), strict=True)
    ]
    kept = None if groups is None else list(compress(groups, asked))
    return Retrieval(
        hits={str(k): mean_of(scores[f"hit@{k}"], kept) for k in DEPTHS},
        mrr=mean_of(scores["mrr"], kept),
        ndcg_at_10=mean_of(scores[f"ndcg@{NDCG_DEPTH}"], kept),
        given=mean_of(shown, kept),
    )


def abstains(answer: str, sentence: str) -> bool:
    """Whether an answer says the sentence; case, spaces and the full stop do not count."""
    return _folded(sentence) in _folded(answer)


def abstention(
    named: Sequence[str | None], answers: Sequence[str], sentence: str
) -> Abstention | None:
    """Abstaining where nothing answers and where something does; None: no row says which."""
    if all(name is None for name in named):
        return None
    said = [abstains(answer, sentence) for answer in answers]
    return Abstention(
        unanswerable=_share([s for s, name in zip(said, named, strict=True) if name == ""]),
        answerable=_share([s for s, name in zip(said, named, strict=True) if name]),
    )


def support(
    answers: Sequence[str],
    given: Sequence[Sequence[Passage]],
    scores: Sequence[float],
    groups: Sequence[str] | None,
    sentence: str | None,
) -> Support:
    """Scores of answers with and without support in the passages given."""
    stands = [_stands_in(answer, row) for answer, row in zip(answers, given, strict=True)]
    if sentence is not None:
        stands = [
            None if abstains(answer, sentence) else share
            for answer, share in zip(answers, stands, strict=True)
        ]

    def those(supported: bool) -> Mean:
        kept = [share is not None and (share >= SUPPORTED) == supported for share in stands]
        return mean_of(
            list(compress(scores, kept)),
            None if groups is None else list(compress(groups, kept)),
        )

    return Support(supported=those(True), unsupported=those(False))


def best_threshold(relevant: Sequence[float], irrelevant: Sequence[float]) -> float | None:
    """The score from which on a best passage is relevant: where most of both kinds are told apart.

    It is the cut with the largest share of relevant at or above it plus irrelevant below it
    (Youden 1950, Cancer 3:32-35), between two scores that were seen; of equal ones the lowest,
    which hides least. None where one kind is missing or no cut tells them apart at all.
    """
    if not relevant or not irrelevant:
        return None
    good, bad = np.sort(relevant), np.sort(irrelevant)
    seen = np.unique([*relevant, *irrelevant])
    cuts = (seen[1:] + seen[:-1]) / 2
    if not len(cuts):
        return None
    above = 1 - np.searchsorted(good, cuts, "left") / len(good)
    below = np.searchsorted(bad, cuts, "left") / len(bad)
    gain = above + below - 1
    best = int(np.argmax(gain))
    return float(cuts[best]) if gain[best] > 1e-9 else None


def mean_of(values: Sequence[float], groups: Sequence[str] | None) -> Mean:
    """Mean of values from 0 to 1 and its interval, by group where rows belong together."""
    if not values:
        return Mean(examples=0)
    found = summarise({"": values}, groups)[""]
    return Mean(examples=len(values), mean=found.mean, low=found.low, high=found.high)


def _share(said: Sequence[bool]) -> Share:
    if not said:
        return Share(count=0, of=0)
    low, high = wilson(sum(said), len(said))
    return Share(count=sum(said), of=len(said), low=low, high=high)


def _stands_in(answer: str, given: Sequence[Passage]) -> float | None:
    """Share of an answer's words that stand in the passages; None where it has no word."""
    words = _WORD.findall(answer.casefold())
    if not words:
        return None
    known = {word for passage in given for word in _WORD.findall(passage.text.casefold())}
    return sum(word in known for word in words) / len(words)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")
