"""`nearest-answer`: the answer of the most similar training row, as for frequent questions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np

from assay.agent.agent import Agent
from assay.agent.runtime import vectors_of
from assay.candidates.building import Candidate, Context, Stopwatch, Trial
from assay.candidates.spec import CandidateSpec, Sizes, Workload
from assay.config import Config
from assay.errors import AssayError
from assay.evaluate.measure import Measurement
from assay.example import Example
from assay.generate.batch import Answer
from assay.generate.calibration import calibrate
from assay.generate.nearest import NearestModel, distinct, dump_nearest, nearest_rows
from assay.models.embed import get_embedder
from assay.models.lineage import keep_rows
from assay.store import blobs

LEAST_BELOW = 10
"""Validation rows that lie below a threshold that is tried: of fewer it would be a guess."""
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Of the validation rows, those that a threshold withholds the answer from."""
MOST_CHARACTERS = 20_000_000
"""Of the distinct answers that are kept; rows beyond them are left out, and a warning says so."""


def estimate(config: Config, sizes: Sizes) -> Workload:
    """Every row of train and validation is embedded once, each of the holdout when it is asked."""
    rows = sizes.train + sizes.validation + sizes.holdout
    return Workload((), 0.0, answered_by="rows", embedded=rows * sizes.read_tokens)


SPEC = CandidateSpec(
    title="most similar answer",
    explanation="Looks up the most similar example and gives its answer, or none where no example "
    "is similar enough. Nothing is generated.",
    family="fitted",
    answers_from_rows=True,
    estimate=estimate,
    baseline=True,
)


def build(context: Context) -> Candidate:
    """Answer by the nearest row of train; the threshold below which it abstains is chosen.

    What is said then is `knowledge.abstain`, or nothing where there is none: an empty answer, which
    is scored like any other. Thresholds are tried where enough of validation lies below them. Of
    equally good ones the highest is taken, since all that it withholds was wrong; without a
    sentence to say instead, or where no answer was ever right, the lowest, which says most.

    Raises:
        AssayError: there are no rows to look up.
    """
    watch = Stopwatch()
    liked = [example for example in context.train if example.liked]
    if not liked:
        raise AssayError("there are no training rows with an answer to look up.")
    rows, warnings = _kept(liked)
    embedder = context.config.classifier.embedder
    vectors = vectors_of(context.store, rows, embedder)
    asked = vectors_of(context.store, context.judged, embedder)
    places, cosines = nearest_rows(asked, vectors)
    knowledge = context.config.knowledge
    abstention = (knowledge.abstain if knowledge is not None else None) or ""
    given = _graded(context, [rows[place].output for place in places])
    withheld = _graded(context, [abstention] * len(places))
    counted = given.counted[given.primary]
    likeness = np.array(list(compress(cosines, counted)))
    right, silent = np.array(given.primary_scores), np.array(withheld.primary_scores)
    cuts = [-1.0, *_thresholds(likeness)]
    scores = [np.where(likeness < cut, silent, right) for cut in cuts]
    means = [float(score.mean()) if len(score) else 0.0 for score in scores]
    prefers_silence = bool(abstention) and max(means) > 0
    best = max(range(len(cuts)), key=lambda i: (means[i], cuts[i] if prefers_silence else -cuts[i]))
    answers, numbers = distinct([row.output for row in rows])
    model = NearestModel(
        embedder=embedder,
        identity=get_embedder(embedder).identity,
        answers=answers,
        places=numbers,
        vectors=vectors,
        threshold=cuts[best] if best else None,
        abstention=abstention,
        calibration=calibrate(likeness, right.tolist()),
        rows=keep_rows(context.store, rows),
    )
    blob = blobs.put(context.store, dump_nearest(model))
    return Candidate(
        agent=Agent(kind="classical", model=f"nearest:{blob}"),
        tried=tuple(
            Trial(f"from a similarity of {cut:.3g} on" if i else "always", mean, i == best)
            for i, (cut, mean) in enumerate(zip(cuts, means, strict=True))
        ),
        scores=tuple(scores[best].tolist()),
        setup_seconds=watch.seconds(),
        retrained=True,
        warnings=warnings,
    )


def _kept(examples: Sequence[Example]) -> tuple[list[Example], tuple[str, ...]]:
    """The rows whose distinct answers fit `MOST_CHARACTERS`, the first ones first."""
    kept: list[Example] = []
    seen: set[str] = set()
    characters = 0
    for example in examples:
        if example.output not in seen:
            characters += len(example.output)
            seen.add(example.output)
        if characters > MOST_CHARACTERS:
            said = f"Only the first {len(kept)} of {len(examples)} rows are searched: their "
            return kept, (f"{said}answers reach the limit of {MOST_CHARACTERS} characters.",)
        kept.append(example)
    return kept, ()


def _graded(context: Context, answers: Sequence[str]) -> Measurement:
    return context.bench.grade([Answer(answer) for answer in answers], context.judged)


def _thresholds(likeness: np.ndarray) -> list[float]:
    """Similarities that enough of validation lies below, about these shares of it."""
    if not len(likeness):
        return []
    cuts = {round(float(np.quantile(likeness, share)), 5) for share in SHARES}
    return sorted(cut for cut in cuts if (likeness < cut).sum() >= LEAST_BELOW)
