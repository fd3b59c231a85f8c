"""`fine-tune-documents`: a version that has learned the documents, and then the rows.

What `rag` puts into every request is put into the weights here, so that both ways of giving a model
documents are compared on the same questions. The documents are given, as they are to `rag`; the
questions of the holdout are not.
"""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context
from assay.candidates.shared import training_work
from assay.candidates.shared.training_documents import about_kept_out
from assay.candidates.spec import DOCUMENTS, LEARNS_ANSWERS, METHOD, CandidateSpec

SPEC = CandidateSpec(
    title="fine-tuned on documents",
    explanation="The model's weights learn the text of your documents, then your examples. Nothing "
    "is searched when it answers. Takes longest to make.",
    family="training",
    answers_from_rows=True,
    needs=(DOCUMENTS, METHOD, LEARNS_ANSWERS),
    estimate=training_work.of_documents_and_rows,
    sends=training_work.sends_of_rows,
)


def build(context: Context) -> Candidate:
    """Train versions on the documents, these further on the rows, and measure on validation."""
    from assay.candidates.shared.tuning import tune  # loads torch

    def agent_of(version: str) -> Agent:
        return context.chat_agent(model=f"version:{version}", system_prompt=context.training_prompt)

    own = replace(context.with_training(method="sft"), documents_first=True)
    made = tune(own, agent_of)
    return replace(made, warnings=(about_kept_out(context), *made.warnings))
