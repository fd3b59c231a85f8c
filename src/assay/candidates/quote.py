"""`quote`: the sentences of the documents that answer best; nothing is generated."""

from __future__ import annotations

from dataclasses import replace
from itertools import compress, product

from assay.agent.agent import Agent, Knowledge
from assay.candidates.building import Candidate, Context, Trial, as_trials
from assay.candidates.shared.documents import choose_search, knowledge_section
from assay.candidates.spec import DOCUMENTS, FREE_TEXT, CandidateSpec, Sizes, Workload
from assay.config import Config
from assay.evaluate.measure import Measurement
from assay.generate.calibration import Calibration, calibrate
from assay.generate.quoting import NO_PASSAGE, QuoteModel, dump_quote
from assay.store import blobs

MOST_SENTENCES = 3
_CHARACTERS = 100_000
"""Of the passages that are read: no model's context limits them."""
_SPANS = 8
"""Runs of sentences in a passage, about, for the estimate."""
_SPAN_TOKENS = 50
"""Of one of them, about."""


def estimate(config: Config, sizes: Sizes) -> Workload:
    """Sentences of the passages that are found are embedded; most come again."""
    k = max(config.knowledge.ks) if config.knowledge is not None else 1
    rows = sizes.validation + sizes.holdout
    tokens = rows * k * _SPANS * _SPAN_TOKENS
    return Workload((), 0.0, answered_by="classifier", embedded_documents=tokens)


SPEC = CandidateSpec(
    title="quoted sentences",
    explanation="Quotes the sentences of your documents that fit the question best. Nothing is "
    "generated. Where no passage fits, it gives the answer that you set for that, or an empty one.",
    family="documents",
    estimate=estimate,
    needs=(FREE_TEXT, DOCUMENTS),
    baseline=True,
    learns_from_rows=lambda config: False,
)


def build(context: Context) -> Candidate:
    """Choose search, number of sentences and who judges them on validation.

    The search as `rag` does, by one sentence and the embedder of the documents; then one to three
    sentences in a row, judged by it or by the cross-encoder that `knowledge.rerank` names. A tie
    goes to fewer sentences. Where no passage is found, `knowledge.abstain` is said, or nothing.
    """
    settings = knowledge_section(context)

    def agent_with(knowledge: Knowledge, model: QuoteModel) -> Agent:
        blob = blobs.put(context.store, dump_quote(model))
        told = knowledge.model_copy(update={"abstain": None})  # there is no model to be told
        return Agent(kind="classical", model=f"quote:{blob}", knowledge=told)

    def first_of(knowledge: Knowledge) -> QuoteModel:
        base = context.bench.knowledge_base(knowledge.name)
        return QuoteModel(1, "embedder", base.settings.embedder, settings.abstain or "")

    found = choose_search(context, lambda k: agent_with(k, first_of(k)), _CHARACTERS)
    first = first_of(found.knowledge)
    judged = [first]
    if settings.rerank is not None:
        judged.append(replace(first, kind="cross-encoder", judge=settings.rerank))
    results: list[tuple[QuoteModel, Measurement]] = []
    for count, model in product(range(1, MOST_SENTENCES + 1), judged):
        tried = replace(model, sentences=count)
        same = tried == first
        measured = (
            found.measurement if same else context.measure(agent_with(found.knowledge, tried))
        )
        results.append((tried, measured))
    best, measured = max(results, key=lambda row: row[1].score)
    chosen = replace(best, calibration=_calibration(best, measured))
    return Candidate(
        agent=agent_with(found.knowledge, chosen),
        tried=as_trials(found.tried)
        + tuple(
            Trial(f"sentences: {m.sentences}, judged by {m.judge}", r.score, m is best)
            for m, r in results
        ),
        scores=tuple(measured.primary_scores),
        warnings=found.warnings,
    )


def _calibration(model: QuoteModel, measured: Measurement) -> Calibration:
    """How probable it is that a quotation is right, of those that were given."""
    counted = compress(measured.answers, measured.counted[measured.primary])
    pairs = [
        (model.calibration.likeness(answer.logprob), score)
        for answer, score in zip(counted, measured.primary_scores, strict=True)
        if answer.logprob is not None and answer.logprob != NO_PASSAGE
    ]
    return calibrate([likeness for likeness, _ in pairs], [score for _, score in pairs])
