"""`router`: a model reads the input and says whether the cheap or the strong agent answers."""

from __future__ import annotations

import random

import numpy as np

from assay.agent.learned import GRID, dump_router, fit_router, out_of_fold
from assay.agent.route import LearnedRoute
from assay.agent.routing import leaves
from assay.candidates.building import Candidate, Context, Stopwatch, Trial
from assay.candidates.registry import specs
from assay.candidates.shared.arms import (
    Arm,
    arm_scores,
    cheap_and_strong,
    estimate_route,
    refuse_unsent,
    route_candidate,
    two_arms,
    warnings_of,
)
from assay.candidates.spec import ARMS, MEASURED, CandidateSpec, Sizes, Workload
from assay.config import Config
from assay.errors import DataError
from assay.evaluate.routing import area_above_random, threshold_for
from assay.evaluate.stats import Floats
from assay.example import Example
from assay.models.embed import STARTER, get_embedder
from assay.models.versions import version_id
from assay.quantities import say_count
from assay.store import blobs

FOLDS = 5
LEAST = 4 * FOLDS
MOST_TRAINING_ROWS = 500
"""Of train that both arms answer to learn from, where neither has learned from train itself."""


def estimate(config: Config, sizes: Sizes) -> Workload:
    """Its arms, which are asked rows of train as well where neither has learned from them."""
    arms = cheap_and_strong(config)
    known = [specs()[name] for name in arms if name in specs()]
    has_seen = any(one.answers_from_rows for one in known)
    train = 0 if has_seen else min(sizes.train, MOST_TRAINING_ROWS)
    return estimate_route(config, sizes, arms, train=train)


SPEC = CandidateSpec(
    title="trained router",
    explanation="A small model that is trained on the input says which of two agents answers.",
    family="routes",
    estimate=estimate,
    needs=(ARMS,),
    sends=lambda config: [(arm, ("train", *MEASURED)) for arm in cheap_and_strong(config)],
)


def build(context: Context) -> Candidate:
    """Choose the best of `GRID`, and the threshold that does what `route` asks for.

    Both are judged on validation rows that the router had not seen (five folds); it then learns
    from all of them.

    Raises:
        ConfigError: an arm cannot answer.
        DataError: too few validation rows.
    """
    route, cheap, strong = two_arms(context)
    scores, kept = arm_scores([cheap, strong])
    if len(kept) < LEAST:
        raise DataError(
            f"{say_count(len(kept), 'validation example')}: too few to learn where to route.",
            fix=f"It needs {LEAST}.",
        )
    watch = Stopwatch()
    examples = [context.judged[place] for place in kept]
    more, more_scores = _of_train(context, cheap, strong)
    vectors = get_embedder(STARTER).encode([e.input for e in [*examples, *more]])
    learned = np.concatenate([scores, more_scores])
    folds = np.concatenate([_folds(examples), np.full(len(more), -1)])
    found = []
    for settings in GRID:
        need = out_of_fold(vectors, learned, settings, folds)[: len(examples)]
        found.append((area_above_random(scores, need), settings, need))
    best = max(found, key=lambda row: row[0])
    tried = []
    for row in found:
        _, settings, need = row
        cut = threshold_for(scores, need, target=route.target, most_strong=route.most_strong)
        routed = np.where(need > cut, scores[:, 1], scores[:, 0])
        said = f"{settings}: {(need > cut).mean():.0%} to {strong.candidate.name}"
        tried.append(Trial(said, float(routed.mean()), row is best))
    _, settings, need = best
    cut = threshold_for(scores, need, target=route.target, most_strong=route.most_strong)
    rows = tuple(example.content_hash() for example in [*examples, *more])
    router = fit_router(vectors, learned, settings, rows=rows)
    blob = blobs.put(context.store, dump_router(router))
    return route_candidate(
        context,
        LearnedRoute(cheap=cheap.id, strong=strong.id, model=blob, threshold=cut),
        (cheap, strong),
        scores=np.where(need > cut, scores[:, 1], scores[:, 0]).tolist(),
        tried=tried,
        target=None if route.most_strong is not None else route.target,
        setup_seconds=watch.seconds(),
        learned=True,
        warnings=warnings_of(scores, strong.candidate.name),
    )


def _of_train(context: Context, cheap: Arm, strong: Arm) -> tuple[list[Example], Floats]:
    """Training rows with both arms' scores, as many as are worth asking for.

    No rows where an arm was made of some: what it scores on them is its memory.
    """
    agents = [
        leaf
        for one in (cheap, strong)
        for leaf in leaves(one.candidate.agent, context.store).values()
    ]
    made_of_train = any(
        leaf.kind == "classical"
        or version_id(leaf.model) is not None
        or leaf.nearest is not None
        or leaf.shown
        for leaf in agents
    )
    rows = [] if made_of_train else list(context.answered)
    if len(rows) > MOST_TRAINING_ROWS:
        rows = random.Random(context.config.data.split.seed).sample(rows, MOST_TRAINING_ROWS)
    if not rows:
        return [], np.zeros((0, 2))
    measured = []
    for one in (cheap, strong):
        refuse_unsent(context, one.candidate.agent, rows)
        measured.append(context.bench.measure(one.candidate.agent, rows))
    primary = measured[0].primary
    usable = [i for i in range(len(rows)) if measured[0].counted[primary][i]]
    scores = np.array([[m.scores[primary][i] for m in measured] for i in usable])
    return [rows[i] for i in usable], scores.reshape(len(usable), 2)


def _folds(examples: list[Example]) -> Floats:
    """[examples]: a fold each, in seeded order; a group is in one."""
    names = [e.group if e.group is not None else f"row {i}" for i, e in enumerate(examples)]
    distinct = sorted(set(names))
    random.Random(0).shuffle(distinct)
    number = {name: i % FOLDS for i, name in enumerate(distinct)}
    return np.array([number[name] for name in names], dtype=float)
