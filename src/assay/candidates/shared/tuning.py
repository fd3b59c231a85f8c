"""A candidate of trained versions: several seeds, of which the best on validation takes part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from assay.agent.agent import Agent
from assay.candidates.building import (
    Candidate,
    ConstraintChoice,
    Context,
    SeedScore,
    as_curve,
    as_trials,
)
from assay.candidates.shared.many_trainings import train_ahead
from assay.candidates.shared.training import train_version
from assay.config import FineTuneSection
from assay.config.training import SEEDS
from assay.evaluate.stats import training_spread
from assay.generate.vllm.adapters import will_go_beside_base
from assay.quantities import say_count
from assay.train.reinforce.figures import warnings_of
from assay.train.session import TrainResult


def tune(
    context: Context, agent_of: Callable[[str], Agent], taught: Context | None = None
) -> Candidate:
    """Train with several seeds; the version that is best on validation takes part, of
    equal ones that of the first seed. All trainings are part of what it takes to make it.

    Args:
        agent_of: the agent that answers with the version of an id.
        taught: what is trained on, where that is not what is asked (see `train_version`).

    Raises:
        ConfigError: the vLLM server that would measure them has not their base, or nobody has
            agreed to it.
        OutageError: it does not answer.
    """
    settings, engines = context.config.fine_tune, context.bench.engines
    if engines.is_served(context.config.model) and will_go_beside_base(settings):
        engines.for_agent(Agent(model=context.config.model))  # said before hours of training
    made: list[tuple[int, ConstraintChoice, TrainResult]] = []

    def train(seed: int) -> float:
        asked = context if taught is not None else None
        version, result = train_version((taught or context).with_training(seed=seed), asked=asked)
        agent = agent_of(version)
        made.append((seed, context.choose_constraint(agent, context.measure(agent)), result))
        # A teacher has answered once for all seeds; what is trained further is trained for each.
        further = context.method.reinforces or context.documents_first
        again = settings.teacher and not further and len(made) > 1
        prepared = 0.0 if again else result.preparation_seconds
        share = 1 / result.beside
        return share * result.seconds + (share if context.method.reference else 1.0) * prepared

    def ahead(first: int, count: int) -> None:
        seeds = range(settings.seed + first, settings.seed + count)
        train_ahead([(taught or context).with_training(seed=seed) for seed in seeds])

    if settings.seeds is not None:
        ahead(0, settings.seeds)
    seconds = train(settings.seed)
    count = settings.seed_count(seconds)
    if settings.seeds is None:
        ahead(1, count)
    seconds += sum(train(settings.seed + more) for more in range(1, count))
    seed, chosen, result = max(made, key=lambda one: (one[1].measurement.score, -one[0]))
    return Candidate(
        agent=chosen.agent,
        tried=as_trials(chosen.tried, f"seed {seed}, " if count > 1 else ""),
        scores=tuple(chosen.measurement.primary_scores),
        setup_seconds=seconds,
        fine_tuned=True,
        retrained=True,
        warnings=(
            *(_one_seed_warning(settings, seconds) if count == 1 else ()),
            *warnings_of(result.rewards, result.best_step, context.config.primary),
        ),
        seeds=tuple(SeedScore(one, c.measurement.score, one == seed) for one, c, _ in made),
        seed_spread=_spread([one.measurement.primary_scores for _, one, _ in made]),
        curve=as_curve(result.points),
        best_step=result.best_step,
    )


def _spread(scores: Sequence[Sequence[float]]) -> float | None:
    """See `training_spread`; None of fewer than two trainings or examples."""
    values = np.array(scores)
    return training_spread(values) if min(values.shape) > 1 else None


def _one_seed_warning(settings: FineTuneSection, seconds: float) -> tuple[str, ...]:
    """That chance could not be told from the way of training, where the time decided so."""
    if settings.seeds is not None:
        return ()
    more = math.ceil((SEEDS - 1) * seconds / 60)
    return (
        f"Trained with one seed only: {SEEDS - 1} more would take about "
        f"{say_count(more, 'minute')}, but fine_tune.seeds_minutes allows only "
        f"{settings.seeds_minutes:g}.",
    )
