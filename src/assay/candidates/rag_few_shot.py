"""`rag-few-shot`: the same few examples shown before every input, and passages with the input.

The shown examples carry no passages: they show the form of an answer, and passages of other
questions would take the room of those of this one.
"""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent, Knowledge, as_shown
from assay.candidates.building import Candidate, Context, as_tried
from assay.candidates.documents import choose_search, room
from assay.candidates.few_shot import spread
from assay.candidates.shown import choose_count


def build(context: Context) -> Candidate:
    """The search that is best without examples (as `rag` chooses it), then the best k of them."""

    def searching(knowledge: Knowledge) -> Agent:
        return context.chat_agent(knowledge=knowledge)

    found = choose_search(context, searching, room(context))
    order = spread(context.answered, seed=context.config.data.split.seed)

    def agent_with(k: int) -> Agent:
        shown = tuple(as_shown(example) for example in order[:k])
        return context.chat_agent(shown=shown, knowledge=found.knowledge)

    chosen = choose_count(context, "rag-few-shot", agent_with)
    return replace(
        chosen,
        tried=as_tried(found.tried, "without examples: ") + chosen.tried,
        warnings=(*found.warnings, *chosen.warnings),
    )
