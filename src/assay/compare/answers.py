"""What every candidate answered to the holdout, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from assay.candidates.building import Candidate
from assay.chat.plain_calls import say_input
from assay.compare.result import AnswerRow
from assay.compare.routes import arm_names
from assay.evaluate.measure import Measurement
from assay.example import Example


def answer_rows(
    examples: Sequence[Example],
    candidates: Sequence[Candidate],
    measured: Mapping[str, Measurement],
) -> Iterator[AnswerRow]:
    """One row for each holdout example: what every candidate answered, and its score."""
    named = {c.name: arm_names(c, measured[c.name]) for c in candidates}
    for i, example in enumerate(examples):
        yield AnswerRow(
            id=example.id,
            line=example.line,
            input=say_input(example),
            reference=example.output,
            group=example.group,
            answers={name: m.answers[i].text for name, m in measured.items()},
            scores={name: m.scores[m.primary][i] for name, m in measured.items()},
            arms={name: arms[i] for name, arms in named.items() if arms is not None},
        )
