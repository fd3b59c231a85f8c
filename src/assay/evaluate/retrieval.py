"""How well a search finds what is known to be relevant: hit@k, MRR, nDCG@k, with intervals.

    runs = [[passage.document for passage in passages] for passages in found]
    scores = retrieval_scores(runs, [{"docs/refunds.md"}, ...])
    summary = summarise(scores, groups=documents_asked_about)

Pure. Relevance is yes or no; every score is between 0 and 1, larger is better.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.evaluate.resampling import studentise, units
from assay.evaluate.stats import Groups

DEPTHS = (1, 3, 5, 10)
NDCG_DEPTH = 10
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over queries, and its interval."""

    mean: float
    low: float
    high: float


def first_places(ranked: Iterable[str]) -> list[str]:
    """Each name once, where it came first: passages of a document become the document."""
    return list(dict.fromkeys(ranked))


def hit(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """1 where one of the first k is relevant, else 0."""
    return float(any(name in relevant for name in ranked[:k]))


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str]) -> float:
    """1 over the place (from 1) of the first relevant one; 0 where there is none."""
    return next((1 / place for place, name in enumerate(ranked, 1) if name in relevant), 0.0)


def ndcg(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Discounted cumulative gain of the first k over the best possible one.

    The gain of a relevant one at place p is 1 / log2(1 + p) (Järvelin and Kekäläinen 2002, ACM
    Transactions on Information Systems 20:422); 0 where nothing is relevant.
    """
    gained = sum(1 / math.log2(1 + p) for p, name in enumerate(ranked[:k], 1) if name in relevant)
    best = sum(1 / math.log2(1 + p) for p in range(1, min(k, len(set(relevant))) + 1))
    return gained / best if best else 0.0


def retrieval_scores(
    runs: Sequence[Iterable[str]], relevant: Sequence[Collection[str]]
) -> dict[str, list[float]]:
    """Every metric of every query.

    Args:
        runs: what was found for each query, best first; a name that comes again is not counted
            twice.
        relevant: what should be found for each.

    Returns:
        hit@1, hit@3, hit@5, hit@10, mrr and ndcg@10, a list over queries each.
    """
    scores: dict[str, list[float]] = {}
    for found, wanted in zip(runs, relevant, strict=True):
        ranked = first_places(found)
        one = {f"hit@{k}": hit(ranked, wanted, k) for k in DEPTHS}
        one["mrr"] = reciprocal_rank(ranked, wanted)
        one[f"ndcg@{NDCG_DEPTH}"] = ndcg(ranked, wanted, NDCG_DEPTH)
        for name, value in one.items():
            scores.setdefault(name, []).append(value)
    return scores


def summarise(
    scores: Mapping[str, Sequence[float]],
    groups: Groups | None = None,
    *,
    alpha: float = 0.05,
    seed: int = 0,
) -> dict[str, Mean]:
    """The mean of each metric with its bootstrap interval (`resampling.studentise`).

    Args:
        scores: by metric, between 0 and 1.
        groups: of each query, such as the document it asks about; whole groups are drawn.
    """
    return _means(scores, groups, alpha, seed, least=0.0)


def difference(
    a: Mapping[str, Sequence[float]],
    b: Mapping[str, Sequence[float]],
    groups: Groups | None = None,
    *,
    alpha: float = 0.05,
    seed: int = 0,
) -> dict[str, Mean]:
    """The mean of a − b for each metric of the same queries, paired, with its interval."""
    paired = {name: [x - y for x, y in zip(a[name], b[name], strict=True)] for name in a}
    return _means(paired, groups, alpha, seed, least=-1.0)


def _means(
    scores: Mapping[str, Sequence[float]],
    groups: Groups | None,
    alpha: float,
    seed: int,
    least: float,
) -> dict[str, Mean]:
    if not scores or not next(iter(scores.values())):
        return {}
    values = np.array(list(scores.values())).T
    rng = np.random.default_rng(seed)
    found = studentise(units(values, groups), RESAMPLES, rng, least=least, most=1.0)
    low, high = found.interval(alpha)
    return {
        name: Mean(float(found.mean[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(scores)
    }
