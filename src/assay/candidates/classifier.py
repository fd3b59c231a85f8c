"""`classifier`: a frozen embedder and logistic regression over its vectors."""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.building import Candidate, Context
from assay.candidates.shared.heads import choose_head, embed, head_tokens
from assay.candidates.spec import ANY_LABELS, CandidateSpec, prompted
from assay.models.embed import get_embedder

SPEC = CandidateSpec(
    title="classifier by meaning",
    explanation="An embedder turns each text into numbers, and a classifier learns your labels "
    "from them. Made in seconds, answers in milliseconds.",
    family="fitted",
    answers_from_rows=True,
    estimate=lambda config, sizes: replace(
        prompted(config, sizes),
        answered_by="classifier",
        embedded=head_tokens(sizes),
    ),
    needs=(ANY_LABELS,),
    baseline=True,
)


def build(context: Context) -> Candidate:
    """Embed train and validation once, and choose the settings on validation."""
    embedder = get_embedder(context.config.classifier.embedder)
    embed(context, embedder)
    return choose_head(context, embedder, "classifier")
