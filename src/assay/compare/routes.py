"""What a route was worth on the holdout: who answered, and its curve beside random and oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from assay.agent.route import Cascade
from assay.agent.routing import arm, first_arms, needs
from assay.candidates.building import Candidate
from assay.compare.routing_section import RoutedArm, Routing
from assay.evaluate.measure import Bench, Measurement
from assay.evaluate.routing import ArmCosts, curve, reached, worth
from assay.example import Example


def routing_of(
    candidate: Candidate,
    measured: Measurement,
    examples: Sequence[Example],
    groups: Sequence[str] | None,
    costs: Mapping[str, float | None],
    bench: Bench,
) -> Routing | None:
    """Figures of a route beside its arms, each of which answers the whole holdout.

    Args:
        measured: the route's own answers.
        costs: USD of a request to each agent, by id; None where it is not known.

    Returns:
        None of a candidate without a route, or where an arm has left answers out.
    """
    route = candidate.agent.route
    if route is None or measured.asked is None:
        return None
    # The cheapest first, as the oracle prefers them; those of unknown cost as they were named.
    ids = list(route.arms)
    if all(costs.get(id) is not None for id in ids) and route.kind == "rules":
        ids.sort(key=lambda id: costs[id] or 0.0)
    cascade = isinstance(route, Cascade)
    arms = [
        bench.measure(
            arm(bench.store, id), examples, with_confidence=cascade and not place, in_part=True
        )
        for place, id in enumerate(ids)
    ]
    if any(one.incomplete for one in arms):
        return None
    counted = measured.counted[measured.primary]
    scores = np.stack([np.array(one.primary_scores) for one in arms], axis=1)
    first = first_arms(route, examples, bench.store)
    answered = [
        ids.index(route.strong if isinstance(route, Cascade) and len(path) > 1 else id)
        for id, path in zip(first, measured.asked, strict=True)
    ]
    chosen = np.array(list(compress(answered, counted)))
    own = None if groups is None else list(compress(groups, counted))
    price = _costs(ids, costs, cascade) if len(ids) == 2 else None
    found = worth(scores, chosen, costs=price, groups=own)
    need = needs(route, examples, arms[0].answers, bench.store)
    target = candidate.target
    routed = scores[np.arange(len(chosen)), chosen]
    asked_first = 1.0 if cascade else found.shares[0]
    return Routing(
        candidate=candidate.name,
        kind=route.kind,
        arms=[
            RoutedArm(
                name=_name(candidate, id),
                agent=id,
                score=float(scores[:, place].mean()),
                answers=found.shares[place],
                asked=asked_first if place == 0 else found.shares[place],
                cost_per_1000=_thousand(costs.get(id)),
            )
            for place, id in enumerate(ids)
        ],
        target=target,
        against_target=None if target is None else reached(scores, routed, target, own),
        worth=found,
        curve=None
        if need is None
        else curve(scores, need[np.array(counted)], costs=price, groups=own),
    )


def arm_names(candidate: Candidate, measured: Measurement) -> list[str] | None:
    """Who answered each example; None of a candidate without a route."""
    if measured.asked is None:
        return None
    return [_name(candidate, path[-1]) for path in measured.asked]


def _costs(ids: Sequence[str], costs: Mapping[str, float | None], cascade: bool) -> ArmCosts:
    """Real costs where both are known; else the strong arm's calls are what counts."""
    cheap, strong = (costs.get(id) for id in ids)
    if cheap is None or strong is None:
        return ArmCosts(both=cascade)
    return ArmCosts(cheap, strong, both=cascade)


def _name(candidate: Candidate, id: str) -> str:
    found = candidate.arms.get(id)
    return id[:12] if found is None else found.name


def _thousand(cost: float | None) -> float | None:
    return None if cost is None else 1000 * cost
