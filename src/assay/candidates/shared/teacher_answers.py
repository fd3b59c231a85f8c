"""Which of a teacher's answers may be learned; others are counted by what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from assay import json_reader
from assay.agent.agent import Agent
from assay.candidates.building import Context
from assay.data.calls import read_turn
from assay.data.json_schema import mismatches, schema_validator
from assay.errors import DataError
from assay.example import Example
from assay.generate.batch import Answer
from assay.quantities import say_count

NOT_RECORDED = "not recorded"
"""Why there is no answer of a teacher that is gone."""


def usable_answers(context: Context, agent: Agent, answers: Sequence[Answer]) -> list[int]:
    """Indices of the answers that may be learned; others are counted by reason and reported."""
    reasons: Counter[str] = Counter()
    kept = []
    for place, (example, answer) in enumerate(zip(context.train, answers, strict=True)):
        reason = why_unfit(example, answer, agent)
        if reason:
            reasons[reason] += 1
        else:
            kept.append(place)
    left_out = "; ".join(f"{count} {reason}" for reason, count in reasons.items())
    if not kept:
        fix = "Raise generate.max_new_tokens, or use another teacher."
        if set(reasons) == {NOT_RECORDED}:
            fix = "Record its answers to the training rows with `assay rescue record --part train`."
        raise DataError(
            f"the teacher {agent.model} gave no answer that can be learned: {left_out}.", fix=fix
        )
    if left_out:
        context.progress.say(
            f"Left out of the teacher's {say_count(len(answers), 'answer')}: {left_out}."
        )
    return kept


def why_unfit(example: Example, answer: Answer, agent: Agent) -> str | None:
    """Why an answer must not be learned; None where it may be."""
    if answer.finish == "refused":
        return NOT_RECORDED if answer.error == NOT_RECORDED else "refused"
    if answer.finish == "length":
        return "cut at generate.max_new_tokens"
    if not answer.text.strip():
        return "empty"
    if agent.choices is not None and answer.text not in agent.choices:
        return "that are not one of the labels"
    if agent.output_schema is not None and not _follows(answer.text, agent.output_schema):
        return "that do not follow the schema"
    if read_turn(answer.text, example.tools) is None:
        return "with a call that does not fit its tools"
    return None


def _follows(text: str, schema: dict[str, Any]) -> bool:
    try:
        value = json_reader.read(text)
    except ValueError:
        return False
    where = "output_schema"
    return next(mismatches(schema_validator(schema, where), value, where), None) is None
