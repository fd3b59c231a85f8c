"""`extract`: a record field by field, what such a job costs without a language model."""

from __future__ import annotations

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, Stopwatch, Trial
from assay.candidates.shared.extraction import estimate, learn, read_rows
from assay.candidates.spec import RECORDS, CandidateSpec
from assay.errors import AssayError
from assay.generate.extraction import dump_extract
from assay.models.lineage import keep_rows
from assay.store import blobs

SPEC = CandidateSpec(
    title="field extraction",
    explanation="Finds each field of a record by the cheapest way that works. Nothing is "
    "generated.",
    family="fitted",
    answers_from_rows=True,
    estimate=estimate,
    needs=(RECORDS,),
    baseline=True,
)


def build(context: Context) -> Candidate:
    """Learn each field by the way that is best for it on validation.

    Raises:
        AssayError: no answer of train is JSON.
    """
    watch = Stopwatch()
    embedder = context.config.classifier.embedder
    liked = [example for example in context.train if example.liked]
    train = read_rows(context.store, liked, embedder)
    if not train.examples:
        raise AssayError("no answer among the training examples is JSON.")
    validation = read_rows(context.store, context.judged, embedder)
    learned = learn(train, validation, keep_rows(context.store, train.examples))
    schema = context.config.output_schema
    agent = Agent(
        kind="classical",
        model=f"extract:{blobs.put(context.store, dump_extract(learned.model))}",
        output_schema=schema,
        constrained=schema is not None,
    )
    measured = context.measure(agent)
    return Candidate(
        agent=agent,
        tried=(
            Trial("each field by the way that is best for it", measured.score, True),
            *learned.trials,
        ),
        scores=tuple(measured.primary_scores),
        setup_seconds=watch.seconds(),
        retrained=True,
        warnings=learned.warnings,
    )
