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
from assay.candidates.shared.training_documents import TrainingDocuments, training_documents
from assay.candidates.spec import DOCUMENTS, LEARNS_ANSWERS, METHOD, CandidateSpec
from assay.evaluate.documents import same_document

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

    documents = training_documents(context)
    own = replace(context.with_training(method="sft"), own_method=None, documents_first=True)
    made = tune(own, agent_of)
    return replace(made, warnings=(_about_kept_out(context, documents), *made.warnings))


def _about_kept_out(context: Context, documents: TrainingDocuments) -> str:
    """What a reader has to know of the documents that were not learned."""
    named = [example.document for example in context.judged if example.document]
    asked = sum(any(same_document(name, one.name) for one in documents.held) for name in named)
    said = documents.describe()
    if named:
        said += f" {asked} of {len(named)} validation rows that name a document ask about these."
    return said
