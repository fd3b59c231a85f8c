"""`rag-few-shot`: the same few examples shown before every input, and passages with the input.

The shown examples carry no passages: they show the form of an answer, and passages of other
questions would take the room of those of this one.
"""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent, Knowledge, as_shown
from assay.candidates.building import Candidate, Context, as_trials
from assay.candidates.shared.documents import available_characters, choose_search
from assay.candidates.shared.examples import choose_count, spread
from assay.candidates.spec import DOCUMENTS, CandidateSpec, Workload, passage_runs

SPEC = CandidateSpec(
    title="passages and examples",
    explanation="Every request also shows the same few examples, and passages that fit.",
    family="documents",
    answers_from_rows=True,
    estimate=lambda config, sizes: Workload(
        passage_runs(config, sizes, len(config.few_shot.ks)), sizes.output_tokens + 1
    ),
    needs=(DOCUMENTS,),
    proposed=True,
    combines=("prompt", "few-shot", "rag"),
)


def build(context: Context) -> Candidate:
    """Choose the search without examples, as `rag` does, then the number of examples."""

    def searching(knowledge: Knowledge) -> Agent:
        return context.chat_agent(knowledge=knowledge)

    found = choose_search(context, searching, available_characters(context))
    order = spread(context.answered, seed=context.config.data.split.seed)

    def agent_with(k: int) -> Agent:
        shown = tuple(as_shown(example) for example in order[:k])
        return context.chat_agent(shown=shown, knowledge=found.knowledge)

    chosen = choose_count(context, agent_with)
    return replace(
        chosen,
        tried=as_trials(found.tried, "without examples: ") + chosen.tried,
        warnings=(*found.warnings, *chosen.warnings),
    )
