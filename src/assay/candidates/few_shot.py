"""`few-shot`: the same few examples shown before every input."""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent, as_shown
from assay.candidates.building import Candidate, Context
from assay.candidates.shared.examples import choose_count, spread
from assay.candidates.spec import CandidateSpec, Sizes, Workload, constraints, prompted
from assay.config import Config


def estimate(config: Config, sizes: Sizes) -> Workload:
    """The work of `few-shot`: shown examples are a shared prefix, computed once."""
    runs = (0.0,) * (len(config.few_shot.ks) + constraints(config) - 1)
    return replace(prompted(config, sizes), runs=runs)


SPEC = CandidateSpec(
    title="fixed examples",
    explanation="Every request also shows the same few examples. Costs a little on each request.",
    family="examples",
    answers_from_rows=True,
    estimate=estimate,
    proposed=True,
)


def build(context: Context) -> Candidate:
    """Choose k of `few_shot.ks` on validation, with examples drawn by the split's seed."""
    order = spread(context.answered, seed=context.config.data.split.seed)

    def agent_with(k: int) -> Agent:
        return context.chat_agent(shown=tuple(as_shown(example) for example in order[:k]))

    return choose_count(context, agent_with)
