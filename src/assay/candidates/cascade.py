"""`cascade`: a cheap agent answers; where it is not sure enough, a strong one answers instead."""

from __future__ import annotations

from typing import get_args

import numpy as np

from assay.agent.route import Cascade, Confidence
from assay.agent.routing import needs_by_confidence
from assay.candidates.building import Candidate, Context, Trial
from assay.candidates.shared.arms import (
    arm_scores,
    cheap_and_strong,
    estimate_route,
    learns,
    route_candidate,
    two_arms,
    warnings_of,
)
from assay.candidates.spec import ARMS, MEASURED, CandidateSpec, Sizes, Workload
from assay.config import Config
from assay.errors import ConfigError
from assay.evaluate.routing import ArmCosts, area_above_random, threshold_for


def estimate(config: Config, sizes: Sizes) -> Workload:
    """Its arms; the cheap one is asked for its confidence."""
    arms = cheap_and_strong(config)
    return estimate_route(config, sizes, arms, asked_anew=arms[0])


SPEC = CandidateSpec(
    title="cheap agent first",
    explanation="A cheap agent answers; where it is not sure enough, a strong one does instead.",
    family="routes",
    estimate=estimate,
    needs=(ARMS,),
    sends=lambda config: [(arm, MEASURED) for arm in cheap_and_strong(config)],
    learns_from_rows=lambda config: learns(cheap_and_strong(config), config),
)


def build(context: Context) -> Candidate:
    """Choose the threshold that does what `route` asks for on validation.

    By the probability of the whole answer or by the mean of its tokens', whichever tells better
    where the strong arm gains.

    Raises:
        ConfigError: an arm cannot answer, or the cheap one does not tell how sure it is.
    """
    route, cheap, strong = two_arms(context, with_confidence=True)
    answers = cheap.measurement.answers
    if all(answer.logprob is None for answer in answers):
        raise ConfigError(
            f"{cheap.candidate.name} does not report the probability of its answers, which a "
            "cascade needs to decide.",
            where="assay.yaml, route.cheap",
            fix="Use another cheap arm, or the candidate `router`.",
        )
    scores, kept = arm_scores([cheap, strong])
    costs = ArmCosts(both=True)
    found = []
    for of in get_args(Confidence):
        need = needs_by_confidence(of, answers)[kept]
        cut = threshold_for(scores, need, target=route.target, most_strong=route.most_strong)
        found.append((area_above_random(scores, need, costs=costs), of, need, cut))
    best = max(found, key=lambda row: row[0])
    tried = []
    for row in found:
        _, of, need, cut = row
        routed = np.where(need > cut, scores[:, 1], scores[:, 0])
        said = (
            f"{of} probability below {max(0.0, -cut):.4g}: {(need > cut).mean():.0%} to "
            f"{strong.candidate.name}"
        )
        tried.append(Trial(said, float(routed.mean()), row is best))
    _, of, need, cut = best
    return route_candidate(
        context,
        Cascade(cheap=cheap.id, strong=strong.id, confidence=of, threshold=max(0.0, -cut)),
        (cheap, strong),
        scores=np.where(need > cut, scores[:, 1], scores[:, 0]).tolist(),
        tried=tried,
        target=None if route.most_strong is not None else route.target,
        warnings=warnings_of(scores, strong.candidate.name),
    )
