"""What a comparison says of documents: how well they were found, and what answers made of them.

All of it is shown beside the scores and none of it decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from assay.agent.agent import Agent, messages_of
from assay.agent.passages import find_passages, fitting
from assay.evaluate.factorial import Factorial, factorial
from assay.evaluate.measure import Bench, Measurement
from assay.evaluate.retrieval import (
    Abstention,
    Retrieval,
    Support,
    abstention,
    retrieval_quality,
    support,
)
from assay.example import Example
from assay.knowledge.search import Passage

_DEEP = 50
"""Passages looked at to find ten documents."""
_SQUARES = (
    ("prompt", "fine-tune", "rag", "fine-tune-rag"),
    ("prompt", "few-shot", "rag", "rag-few-shot"),
)
"""Kinds of candidates that make a 2×2: neither, a, b, both."""


@dataclass(frozen=True, slots=True)
class DocumentFigures:
    """Of one candidate; None where it says nothing."""

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
    found = find_passages(deep, examples, bench.store, bench.owner)
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
    shown = [message for turns in agent.shown for message in messages_of(turns)]
    found = find_passages(agent.knowledge, examples, bench.store, bench.owner)
    given = []
    for example, row in zip(examples, found, strict=True):
        prompt = example.with_system(agent.system_prompt).prompt
        given.append(fitting((*shown, *prompt), row, agent.knowledge))
    return given


def squares(
    kinds: Mapping[str, str],
    measured: Mapping[str, Measurement],
    groups: Sequence[str] | None,
) -> list[Factorial]:
    """Every 2×2 whose four candidates took part and are complete.

    Args:
        kinds: of each candidate, by its name.
        measured: each candidate's measurement, by its name.
        groups: of the rows that count.
    """
    by_kind = {kind: name for name, kind in kinds.items() if not measured[name].incomplete}
    found = []
    for wanted in _SQUARES:
        names = [by_kind[kind] for kind in wanted if kind in by_kind]
        if len(names) == len(wanted):
            neither, a, b, both = names
            scores = [measured[name].primary_scores for name in names]
            if scores[0]:
                found.append(
                    factorial(
                        (neither, a, b, both),
                        (scores[0], scores[1], scores[2], scores[3]),
                        groups,
                    )
                )
    return found
