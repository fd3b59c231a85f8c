"""`few-shot`: the same few examples shown before every input."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from assay.agent.agent import Agent, as_shown
from assay.candidates.building import Candidate, Context
from assay.candidates.shown import choose_count
from assay.example import Example


def build(context: Context) -> Candidate:
    """The best k of `few_shot.ks`, examples drawn from train by the split's seed."""
    order = spread(context.answered, seed=context.config.data.split.seed)

    def agent_with(k: int) -> Agent:
        return context.chat_agent(shown=tuple(as_shown(example) for example in order[:k]))

    return choose_count(context, "few-shot", agent_with)


def spread(examples: Sequence[Example], *, seed: int) -> list[Example]:
    """Examples in an order whose beginnings show different outputs first.

    Round-robin over the distinct outputs, most frequent first, each in seeded order; very long
    inputs (above the 90th percentile) come last, since every shown token is paid on each request.
    """
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)
    lengths = sorted(len(example.input) for example in shuffled)
    limit = lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0
    by_output: dict[str, list[Example]] = defaultdict(list)
    for example in shuffled:
        if len(example.input) <= limit:
            by_output[example.output].append(example)
    piles = sorted(by_output.values(), key=len, reverse=True)
    ordered: list[Example] = []
    depth = 0
    while any(len(pile) > depth for pile in piles):
        ordered.extend(pile[depth] for pile in piles if len(pile) > depth)
        depth += 1
    return ordered + [example for example in shuffled if len(example.input) > limit]
