"""What a comparison says of documents: how well they were found, and what answers made of them.

All of it is shown beside the scores and none of it decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from assay.agent.agent import Agent
from assay.candidates.registry import specs
from assay.evaluate.documents import (
    Abstention,
    Retrieval,
    Support,
    abstention,
    retrieval_quality,
    support,
)
from assay.evaluate.factorial import Factorial, factorial
from assay.evaluate.measure import Bench, Measurement
from assay.example import Example
from assay.knowledge.passage_block import entry
from assay.knowledge.search import Passage

_DEEP = 50
"""Passages looked at to find ten documents."""


@dataclass(frozen=True, slots=True)
class DocumentFigures:
    """Figures of one candidate on documents; None where they do not apply."""

    retrieval: Retrieval | None = None
    support: Support | None = None
    abstention: Abstention | None = None


def document_figures(
    agent: Agent,
    measurement: Measurement,
    examples: Sequence[Example],
    groups: Sequence[str] | None,
    bench: Bench,
) -> DocumentFigures:
    """Retrieval, support and abstention of one candidate on the rows it was measured on.

    Args:
        groups: of the examples; None where they are independent.
    """
    if measurement.incomplete:
        return DocumentFigures()
    named = [example.document for example in examples]
    texts = [answer.text for answer in measurement.answers]
    settings = bench.config.knowledge
    sentence = settings.abstain if settings is not None else None
    abstained = abstention(named, texts, sentence) if sentence is not None else None
    if agent.knowledge is None:
        return DocumentFigures(abstention=abstained)
    deep = agent.knowledge.model_copy(update={"k": max(_DEEP, agent.knowledge.k)})
    deep = deep.model_copy(update={"threshold": None})
    found = bench.find_passages(deep, examples)
    given = passages_given(agent, examples, bench)
    counted = measurement.counted[measurement.primary]
    kept = None if groups is None else list(compress(groups, counted))
    supported = None
    if bench.config.task == "text":
        supported = support(
            list(compress(texts, counted)),
            list(compress(given, counted)),
            measurement.primary_scores,
            kept,
            sentence,
        )
    return DocumentFigures(
        retrieval=retrieval_quality(named, found, given, groups),
        support=supported,
        abstention=abstained,
    )


def passages_given(agent: Agent, examples: Sequence[Example], bench: Bench) -> list[list[Passage]]:
    """The passages that stood in each request: those that were found and had room."""
    assert agent.knowledge is not None
    found = bench.find_passages(agent.knowledge, examples)
    requests = bench.assemble(agent, examples)
    given = []
    for request, row in zip(requests, found, strict=True):
        asked = "".join(turn.content for turn in request.messages if turn.role == "user")
        given.append([p for number, p in enumerate(row, start=1) if entry(number, p) in asked])
    return given


def squares(measured: Mapping[str, Measurement], groups: Sequence[str] | None) -> list[Factorial]:
    """Every 2×2 whose four candidates took part and are complete.

    Args:
        measured: each candidate's measurement, by its name.
        groups: of the rows that count.
    """
    scores = {name: m.primary_scores for name, m in measured.items() if not m.incomplete}
    combining = {name: spec.combines for name, spec in specs().items() if spec.combines is not None}
    return [
        factorial(
            (neither, a, b, both), (scores[neither], scores[a], scores[b], scores[both]), groups
        )
        for both, (neither, a, b) in combining.items()
        if all(scores.get(name) for name in (neither, a, b, both))
    ]
