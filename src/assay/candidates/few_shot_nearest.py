"""`few-shot-nearest`: the examples most like the input are shown before it."""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent, Nearest
from assay.candidates.building import Candidate, Context
from assay.candidates.shared.examples import choose_count
from assay.candidates.spec import CandidateSpec, Sizes, Workload, constraints, prompted
from assay.config import Config
from assay.example import dump_examples
from assay.store import blobs


def estimate(config: Config, sizes: Sizes) -> Workload:
    """The work of `few-shot-nearest`: shown examples differ from request to request."""
    ks = config.few_shot.ks
    runs = tuple(float(k) for k in [*ks, *[max(ks)] * (constraints(config) - 1)])
    return replace(prompted(config, sizes), runs=runs, embedded=sizes.train * sizes.read_tokens)


SPEC = CandidateSpec(
    title="similar examples",
    explanation="Every request also shows the examples most like it.",
    family="examples",
    answers_from_rows=True,
    estimate=estimate,
    proposed=True,
)


def build(context: Context) -> Candidate:
    """Choose k of `few_shot.ks` on validation; `classifier.embedder` finds the examples."""
    pool = blobs.put(context.store, "".join(dump_examples(context.answered)).encode())
    embedder = context.config.classifier.embedder

    def agent_with(k: int) -> Agent:
        return context.chat_agent(nearest=Nearest(k=k, pool=pool, embedder=embedder))

    return choose_count(context, agent_with)
