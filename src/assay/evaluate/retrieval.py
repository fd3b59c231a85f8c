"""How well documents are found, beside how well questions are answered. Pure.

It can be measured where rows name the document that answers them. A row has one such document, so
of the passages that were found only the best one of each document counts, and

- hit@k is 1 where the document is among the first k documents,
- the reciprocal rank is 1 / its rank, 0 where it was not found,
- nDCG@10 is 1 / log2(1 + rank) where it is among the first 10, for the ideal ranking has it first
  (Järvelin and Kekäläinen 2002, ACM Transactions on Information Systems 20:422-446).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import compress
from pathlib import PurePosixPath

import numpy as np
from pydantic import BaseModel, ConfigDict

from assay.evaluate.resampling import studentise, units
from assay.evaluate.stats import wilson
from assay.knowledge.search import Passage

DEPTH = 10
"""Documents that are looked at for nDCG@10."""
HITS = (1, 3, 5)
SUPPORTED = 0.8
"""Share of an answer's words that stand in the passages from which on it counts as supported."""
_RESAMPLES = 2000
_WORD = re.compile(r"\w+")


class Part(BaseModel):
    """A part of the result; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Mean(Part):
    """A mean over some examples with its 95 % interval; null where there are none."""

    examples: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None


class Retrieval(Part):
    """How well the documents of the rows were found, over the rows that name one.

    Attributes:
        hits: hit@k by k; of the first k documents, whatever number of passages the agent is given.
        given: how often a passage of the row's document was among those the agent was given.
    """

    hits: dict[str, Mean]
    mrr: Mean
    ndcg_at_10: Mean
    given: Mean


class Support(Part):
    """Mean score of the answers whose words stand in the passages given, and of the others.

    An answer is supported where at least 0.8 of its words (letters and digits, case not counted)
    stand in the passages that it was given. That is a look at words: it does not know what they
    mean. Answers that abstain or are empty are in neither.
    """

    supported: Mean
    unsupported: Mean


class Share(Part):
    """`count` of `of`, with the 95 % interval of the share (Wilson); null where `of` is 0."""

    count: int
    of: int
    low: float | None = None
    high: float | None = None


class Abstention(Part):
    """How often the candidate said that the documents do not tell.

    Attributes:
        unanswerable: of the rows that no document answers (it should).
        answerable: of the rows that name a document (it should not).
    """

    unanswerable: Share
    answerable: Share


def same_document(named: str, document: str) -> bool:
    """Whether a row means this document: by its path, the end of its path, or its bare name."""
    if named == document or document.endswith(f"/{named}"):
        return True
    return PurePosixPath(document).stem == named


def rank_of(named: str, found: Sequence[Passage]) -> int | None:
    """Rank (from 1) of a document among those of the passages; None: not among them."""
    documents = dict.fromkeys(passage.document for passage in found)
    for rank, document in enumerate(documents, start=1):
        if same_document(named, document):
            return rank
    return None


def ndcg(rank: int | None, depth: int = DEPTH) -> float:
    """nDCG of one relevant document at a rank."""
    return 0.0 if rank is None or rank > depth else 1 / math.log2(1 + rank)


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
    ranks = [rank_of(name, row) for name, row in zip(names, compress(found, asked), strict=True)]
    shown = [
        float(rank_of(name, row) is not None)
        for name, row in zip(names, compress(given, asked), strict=True)
    ]
    kept = None if groups is None else list(compress(groups, asked))
    return Retrieval(
        hits={
            str(k): mean_of([float(rank is not None and rank <= k) for rank in ranks], kept)
            for k in HITS
        },
        mrr=mean_of([0.0 if rank is None else 1 / rank for rank in ranks], kept),
        ndcg_at_10=mean_of([ndcg(rank) for rank in ranks], kept),
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
    """Mean of values from 0 to 1 and its interval (`evaluate.resampling.studentise`)."""
    if not values:
        return Mean(examples=0)
    column = np.asarray(values, dtype=float)[:, None]
    rng = np.random.default_rng(0)
    found = studentise(units(column, groups), _RESAMPLES, rng, least=0.0, most=1.0)
    low, high = found.interval(0.05)
    return Mean(
        examples=len(values), mean=float(found.mean[0]), low=float(low[0]), high=float(high[0])
    )


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
