"""`few-shot-nearest`: the examples most like the input are shown before it."""

from __future__ import annotations

from assay.agent.agent import Agent, Nearest
from assay.candidates.building import Candidate, Context
from assay.candidates.shown import choose_count
from assay.example import dump_examples

EMBEDDER = "all-minilm-l6-v2"


def build(context: Context) -> Candidate:
    """The best k of `few_shot.ks`, chosen from train by the starter embedder."""
    pool = context.store.put("".join(dump_examples(context.answered)).encode())

    def agent_with(k: int) -> Agent:
        return context.chat_agent(nearest=Nearest(k=k, pool=pool, embedder=EMBEDDER))

    return choose_count(context, "few-shot-nearest", agent_with)
