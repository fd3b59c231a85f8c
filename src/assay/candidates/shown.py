"""What the two ways of showing examples share: the number shown is chosen on validation."""

from __future__ import annotations

from collections.abc import Callable

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, as_tried
from assay.errors import AssayError
from assay.evaluate.measure import Measurement


def choose_count(context: Context, name: str, agent_with: Callable[[int], Agent]) -> Candidate:
    """Try every k of `few_shot.ks`, then the constraint at the best one.

    A tie goes to the smaller k, which costs fewer tokens on every request. A request that does
    not fit the model's context scores 0; a k of which none fits is left out.

    Raises:
        AssayError: no k fits.
        OutageError: requests were left unanswered.
    """
    results: list[tuple[int, Agent, Measurement]] = []
    warnings: list[str] = []
    for k in sorted(set(context.config.few_shot.ks)):
        if k > len(context.answered):
            warnings.append(
                f"k = {k} was not tried: there are only {len(context.answered)} examples."
            )
            continue
        agent = agent_with(k)
        measured = context.attempt(agent)
        if measured is None:
            warnings.append(f"k = {k} was left out: its requests do not fit the model's context.")
            continue
        results.append((k, agent, measured))
    if not results:
        raise AssayError(
            f"{name}: not one number of shown examples could be measured. {' '.join(warnings)}",
            fix="Use smaller numbers in few_shot.ks, or a model with a longer context.",
        )
    best_k, agent, measured = max(results, key=lambda row: (row[2].score, -row[0]))
    chosen = context.choose_constraint(agent, measured)
    others = [(f"k={k}, unconstrained", m.score, False) for k, _, m in results if k != best_k]
    return Candidate(
        name=name,
        kind=name,
        agent=chosen.agent,
        tried=as_tried(chosen.tried, f"k={best_k}, ") + as_tried(others),
        scores=tuple(chosen.measurement.primary_scores),
        warnings=tuple(warnings),
    )
