"""How many holdout rows could be answered by copying: out of a training row, or out of a document.

It is shown beside the scores and decides nothing: an answer may rightly be the same twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from assay.compare.data_section import Verbatim
from assay.data.verbatim import answers_in_rows, pairs_in_documents
from assay.errors import NotFoundError
from assay.evaluate.measure import Bench
from assay.example import Example


def find_verbatim(train: Sequence[Example], holdout: Sequence[Example], bench: Bench) -> Verbatim:
    """Count the rows of a holdout that is open."""
    answers = documents = None
    if bench.config.task != "label":
        answers = answers_in_rows([e.output for e in holdout], [e.output for e in train])
    if (knowledge := bench.config.knowledge) is not None:
        base = bench.knowledge_base(knowledge.name)
        pairs = [(example.input, example.output) for example in holdout]
        with suppress(NotFoundError):  # no candidate has looked into any documents
            documents = pairs_in_documents(pairs, map("\n".join, base.texts()))
    return Verbatim(answers=answers, documents=documents)
