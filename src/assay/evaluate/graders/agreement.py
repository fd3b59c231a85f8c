"""`consistency`: do paraphrases of one question get the same answer?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from assay.evaluate.graders.parse import fold, parse_json, spelling
from assay.evaluate.graders.registry import GraderSettings, GradingContext, Score, over_all
from assay.evaluate.graders.text import overlap_f1
from assay.example import Example


class ConsistencySettings(GraderSettings):
    """Settings of `consistency`."""

    compare: Literal["exact", "token-f1", "record-exact"] = Field(
        "exact", description="how two answers are compared"
    )


def _same_text(a: str, b: str) -> float:
    return float(fold(a) == fold(b))


def _same_record(a: str, b: str) -> float:
    one, other = parse_json(a), parse_json(b)
    if one is None or other is None:
        return 0.0
    return float(spelling(one.value) == spelling(other.value))


_COMPARE: dict[str, Callable[[str, str], float]] = {
    "exact": _same_text,
    "token-f1": overlap_f1,
    "record-exact": _same_record,
}


@over_all(
    "consistency",
    "Mean agreement of the answer with the other answers of its group (paraphrases).",
    settings=ConsistencySettings,
    points="for agreement between answers to like questions",
)
def consistency(
    answers: Sequence[str],
    examples: Sequence[Example],
    settings: ConsistencySettings,
    context: GradingContext,
) -> list[Score]:
    """Score of an answer = mean of compare(answer, other) over the others of its group.

    It asks for agreement, not for being right. An example without a group or alone in it is not
    counted. A blank answer agrees with nothing.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for position, example in enumerate(examples):
        if example.group is not None:
            groups[example.group].append(position)
    compare = _COMPARE[settings.compare]
    scores = [Score(1.0, note="alone in its group", counted=False)] * len(examples)
    for members in groups.values():
        if len(members) == 1:
            continue
        for one in members:
            answer = answers[one]
            if not answer.strip():
                scores[one] = Score(0.0, parsed=False, note="blank")
            elif settings.compare == "record-exact" and parse_json(answer) is None:
                scores[one] = Score(0.0, parsed=False, note="not JSON")
            else:
                agreement = sum(
                    compare(answer, answers[other])
                    for other in members
                    if other != one and answers[other].strip()
                )
                scores[one] = Score(min(agreement / (len(members) - 1), 1.0))
    return scores
