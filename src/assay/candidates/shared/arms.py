"""Routes: their arms, measured on validation, and the candidate that is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from assay.agent.agent import Agent, make_routed
from assay.agent.consent import check_consent
from assay.agent.lineage import is_made_of_many_rows, is_retrained, is_tuned
from assay.agent.route import Route
from assay.agent.routing import arm as agent_of
from assay.agent.routing import leaves
from assay.agent.versions import find_version, save_agent
from assay.candidates import registry
from assay.candidates.building import Candidate, Context, Trial
from assay.candidates.spec import (
    TIMED_ANSWERS,
    AnsweredBy,
    ProviderRequests,
    Sizes,
    Workload,
    asked_rows,
    in_batches,
    prompted,
)
from assay.config import Config, RouteSection, is_remote
from assay.errors import ConfigError, UsageError
from assay.evaluate.measure import Measurement
from assay.evaluate.stats import Floats
from assay.example import Example

_TIMED_ROUTE = TIMED_ANSWERS + 21
"""Answers of an arm that are asked for to time the route: alone, and as the route asks it."""


@dataclass(frozen=True, slots=True)
class Arm:
    """An agent that a route may ask, as a candidate, whether it takes part itself or not.

    Attributes:
        measurement: on validation.
    """

    id: str
    candidate: Candidate
    measurement: Measurement


def estimate_route(
    config: Config, sizes: Sizes, arms: Sequence[str], *, train: int = 0, asked_anew: str = ""
) -> Workload:
    """What arms take that do not take part themselves; those that do have answered already. The
    time in which they answer training rows is not counted.

    Args:
        train: training rows that every arm is asked as well.
        asked_anew: an arm that is asked once more than it is as a candidate, for its confidence.
    """
    own, requests, built = False, tuple[ProviderRequests, ...](), list[Workload]()
    runs = (sizes.validation, sizes.holdout, sizes.unlabelled, train)
    rows, batched = sum(runs) + _TIMED_ROUTE, in_batches(*runs)
    part = registry.taking_part(config)
    versions = {registry.specs()[name].version for name in part}
    for name in arms:
        spec = registry.specs().get(name)
        if spec is None:
            requests += asked_rows(name, rows, config, sizes, batched)
            own = own or not is_remote(name)
        elif name not in part:
            alone = spec.estimate(config, sizes)
            if spec.version and spec.version in versions:
                alone = alone.trained_before()
            built.append(alone)
            requests += alone.requests
            own = own or alone.answered_by == "model"
        if spec is not None and spec.family == "provider" and (train or name == asked_anew):
            anew = (rows, batched) if name == asked_anew else (train, in_batches(train))
            requests += asked_rows(config.remote, anew[0], config, sizes, anew[1])
    by: AnsweredBy = "model" if own else "provider" if requests else "rows"
    plain = prompted(config, sizes)
    models = [one for one in built if one.answered_by == "model"]
    return Workload(
        runs=tuple(run for one in models for run in one.runs) or plain.runs,
        answer_tokens=max((one.answer_tokens for one in models), default=plain.answer_tokens),
        answered_by=by,
        requests=requests,
        trained=sum(one.trained for one in built),
        searched=sum(one.searched for one in built),
        drawn=sum(one.drawn for one in built),
        embedded=sum(one.embedded for one in built),
        embedded_documents=sum(one.embedded_documents for one in built),
        reranked=sum(one.reranked for one in built),
        texts_per_step=max((one.texts_per_step for one in built), default=0),
        tunes_search=any(one.tunes_search for one in built),
    )


def build_arm(context: Context, name: str, *, with_confidence: bool = False) -> Arm:
    """Build or load the arm of a name and measure it on validation.

    Args:
        name: a candidate, `NAME@VERSION` of a saved agent, or a model that gets the system prompt.

    Raises:
        ConfigError: there is none of that name, or is at a provider that rows may not be sent to.
        OutageError: it left requests unanswered.
    """
    candidate = _candidate(context, name)
    save_agent(context.store, candidate.name, candidate.agent, message="arm of a route")
    refuse_unsent(context, candidate.agent, context.judged)
    measurement = context.measure(candidate.agent, with_confidence=with_confidence)
    return Arm(candidate.agent.id, candidate, measurement)


def _candidate(context: Context, name: str) -> Candidate:
    if name in context.built:
        return context.built[name]
    if name in registry.specs():
        return registry.build(name, context)
    if "@" in name:
        try:
            version = find_version(context.store, name)
        except UsageError as error:
            raise ConfigError(error.what, where="assay.yaml, route", fix=error.fix) from None
        agent = agent_of(context.store, version.agent)
        return _as_candidate(version.name, agent, context)
    return _as_candidate(name, context.chat_agent(model=name), context)


def _as_candidate(name: str, agent: Agent, context: Context) -> Candidate:
    """A saved agent or model as a candidate: its training is paid, its upkeep is not."""
    return Candidate(
        name=name,
        kind=name,
        agent=agent,
        tried=(),
        scores=(),
        fine_tuned=is_tuned(agent, context.store),
        curated=is_made_of_many_rows(agent, context.store),
        retrained=is_retrained(agent, context.store),
    )


def refuse_unsent(context: Context, agent: Agent, examples: Sequence[Example]) -> None:
    """Refuse to send rows to a provider that the project has not agreed to."""
    for leaf in leaves(agent, context.store).values():
        if is_remote(leaf.model):
            requests = context.bench.assemble(leaf, examples)
            check_consent(leaf.model, context.bench.engines.providers, requests, context.progress)


def two_arms(context: Context, *, with_confidence: bool = False) -> tuple[RouteSection, Arm, Arm]:
    """The `route` section with its cheap and its strong arm, measured.

    Args:
        with_confidence: the cheap arm must tell how sure it is.

    Raises:
        ConfigError: an arm cannot answer.
    """
    route = context.config.route
    assert route is not None
    names = cheap_and_strong(context.config)
    cheap = build_arm(context, names[0], with_confidence=with_confidence)
    strong = build_arm(context, names[1])
    if cheap.id == strong.id:
        raise ConfigError(
            f"{names[0]} and {names[1]} are the same agent.",
            where="assay.yaml, route",
            fix="Name two that answer differently.",
        )
    return route, cheap, strong


def cheap_and_strong(config: Config) -> list[str]:
    """Names of the two arms of the `route` section, as far as they are given."""
    route = config.route
    arms = (route.cheap, route.strong) if route is not None else ()
    return [arm for arm in arms if arm is not None]


def learns(arms: Iterable[str], config: Config) -> bool:
    """Whether one of some arms is another one with more training rows; saved agents are not, and
    routes cannot be arms."""
    known = [arm for arm in arms if arm in registry.specs() and not registry.is_route(arm)]
    return any(registry.specs()[arm].learns_from_rows(config) for arm in known)


def arm_scores(arms: Sequence[Arm]) -> tuple[Floats, list[int]]:
    """Scores [examples, arms] on validation, and the places of the examples that count."""
    first = arms[0].measurement
    kept = list(compress(range(len(first.answers)), first.counted[first.primary]))
    return np.stack([np.array(one.measurement.primary_scores) for one in arms], axis=1), kept


def warnings_of(scores: Floats, strong: str) -> tuple[str, ...]:
    """A warning where the strong arm is no better than the cheap one on validation.

    Args:
        scores: [examples, 2] of cheap and strong arm.
        strong: name of the strong arm.
    """
    cheap, best = scores.mean(axis=0)
    if best > cheap:
        return ()
    return (
        f"On validation `{strong}` was no better than the cheap arm ({100 * best:.1f} against "
        f"{100 * cheap:.1f} of 100), so nothing is gained by routing to it.",
    )


def route_candidate(
    context: Context,
    route: Route,
    arms: Sequence[Arm],
    *,
    scores: Sequence[float],
    tried: Sequence[Trial],
    setup_seconds: float = 0.0,
    learned: bool = False,
    target: float | None = None,
    warnings: Sequence[str] = (),
) -> Candidate:
    """A route as a candidate, which is kept up as all of its arms are.

    Args:
        setup_seconds: of the route itself; making its arms is added.
        learned: the route itself has learned from examples, and goes stale with them.
        target: see `Candidate.target`.
    """
    agent = make_routed(route)
    leaves(agent, context.store)
    parts = [one.candidate for one in arms]
    return Candidate(
        agent=agent,
        tried=tuple(tried),
        scores=tuple(float(score) for score in scores),
        setup_seconds=setup_seconds + sum(part.setup_seconds for part in parts),
        fine_tuned=any(part.fine_tuned for part in parts),
        curated=any(part.curated for part in parts),
        retrained=learned or any(part.retrained for part in parts),
        warnings=tuple(warnings),
        arms={one.id: one.candidate for one in arms},
        target=target,
    )
