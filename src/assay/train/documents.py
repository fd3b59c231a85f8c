"""From texts to what a training is fed: every token of a document, in parts that fit.

    units = document_units([TextDocument("faq.md", "Goods may be ...")], template, 1024)

What is longer than a row is cut into parts of nearly equal length. Each begins with the last token
of the part before, from which its first one is predicted: so every token but the very first of a
document is learned, and none twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from assay.chat.template import Template
from assay.train.sequences import TrainingSequence, Unit, alone


@dataclass(frozen=True, slots=True)
class TextDocument:
    """A text that is learned, and what it is called in messages."""

    name: str
    text: str


def document_units(
    documents: Sequence[TextDocument], template: Template, most_tokens: int
) -> list[Unit]:
    """The parts of all documents, each a unit of its own, in the order of the texts.

    Args:
        most_tokens: of a row.
    """
    return alone(
        [
            TrainingSequence(part, [False] + [True] * (len(part) - 1), name=document.name)
            for document in documents
            for part in cut(template.document_ids(document.text), most_tokens)
        ]
    )


def cut(ids: Sequence[int], most: int) -> list[list[int]]:
    """Parts of at most so many tokens; each begins with the last one of the part before.

    A single token holds nothing that could be predicted, and gives no part.
    """
    learned = len(ids) - 1
    if learned < 1:
        return []
    count = math.ceil(learned / (most - 1))
    ends = [learned * number // count for number in range(count + 1)]
    return [[*ids[start : end + 1]] for start, end in pairwise(ends)]
