"""Shown examples: their order, and how many of them, chosen on validation."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, as_trials
from assay.errors import AssayError
from assay.evaluate.measure import Measurement
from assay.example import Example
from assay.quantities import say_count


def choose_count(context: Context, agent_with: Callable[[int], Agent]) -> Candidate:
    """Choose the number of shown examples, then whether answers are constrained.

    A tie goes to the smaller k, which costs fewer tokens on every request. A request that does
    not fit the model's context scores 0; a k of which none fits is left out.

    Raises:
        AssayError: no k fits.
        OutageError: requests were left unanswered.
    """
    results: list[tuple[int, Agent, Measurement]] = []
    warnings: list[str] = []
    rows = len(context.answered)
    for k in sorted(set(context.config.few_shot.ks)):
        if k > rows:
            warnings.append(
                f"k = {k} was not tried: there {'is' if rows == 1 else 'are'} only "
                f"{say_count(rows, 'example')}."
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
            f"none of the numbers of shown examples could be measured. {' '.join(warnings)}",
            fix="Use smaller numbers in few_shot.ks, or a model with a longer context.",
        )
    best_k, agent, measured = max(results, key=lambda row: (row[2].score, -row[0]))
    chosen = context.choose_constraint(agent, measured)
    others = [(f"k={k}, unconstrained", m.score, False) for k, _, m in results if k != best_k]
    return Candidate(
        agent=chosen.agent,
        tried=as_trials(chosen.tried, f"k={best_k}, ") + as_trials(others),
        scores=tuple(chosen.measurement.primary_scores),
        warnings=tuple(warnings),
    )


def spread(examples: Sequence[Example], *, seed: int) -> list[Example]:
    """Examples ordered so that the first k have as many different outputs as possible.

    Round-robin over the distinct outputs (where tools are offered, over the functions that are
    called), most frequent first, each in seeded order; very long inputs (above the 90th percentile)
    come last, since every shown token is paid on each request.
    """
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)
    lengths = sorted(len(example.input) for example in shuffled)
    limit = lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0
    by_output: dict[str, list[Example]] = defaultdict(list)
    for example in shuffled:
        if len(example.input) <= limit:
            by_output[_kind(example)].append(example)
    piles = sorted(by_output.values(), key=len, reverse=True)
    ordered: list[Example] = []
    depth = 0
    while any(len(pile) > depth for pile in piles):
        ordered.extend(pile[depth] for pile in piles if len(pile) > depth)
        depth += 1
    return ordered + [example for example in shuffled if len(example.input) > limit]


def _kind(example: Example) -> str:
    """What an example's output is told from others by."""
    if example.tools:
        return "\n".join(sorted(call.name for call in example.target.tool_calls))
    return example.output
