"""A result where people read it, in the report and the studio: candidates have their plain names.

On a command line and in files they have the names that are typed there. The result itself says what
each is called; one that is older than that keeps the names that are typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from assay.compare import reasons
from assay.compare.reasons import Scale
from assay.compare.replacement_section import Replacement
from assay.compare.result import AnswerRow, CandidateResult, Result, Verdict
from assay.compare.scale import scale_of

_TYPED = re.compile(r"`([^`]+)`")
"""A candidate's name in a warning."""


def with_named_range(result: Result) -> Result:
    """The result with one range for the candidate that the verdict names, wherever it stands: the
    one that is corrected for its having been chosen. Unchanged where the verdict has none."""
    verdict = result.verdict
    low, high = verdict.score_low, verdict.score_high
    if low is None or high is None:
        return result
    named = verdict.named
    range_ = {"low": low, "high": high}

    def shown(one: CandidateResult) -> CandidateResult:
        if one.name != named:
            return one
        metrics = dict(one.metrics)
        if result.primary in metrics:
            metrics[result.primary] = metrics[result.primary].model_copy(update=range_)
        return one.model_copy(update={**range_, "metrics": metrics})

    return result.model_copy(update={"candidates": [shown(one) for one in result.candidates]})


def in_words(result: Result) -> Result:
    """The result with candidates called by what they are, wherever figures, warnings or the verdict
    speak of them; the `title` of each is then the name that is typed. The plan stays as it was
    written, with the names that are typed. The one that is named has the range of
    `with_named_range`."""
    result, names = with_named_range(result), result.names

    def called(name: str) -> str:
        return names.get(name, name)

    def rename(value: Any, *fields: str) -> Any:
        return value.model_copy(update={f: called(getattr(value, f)) for f in fields})

    def reword(warnings: Iterable[str]) -> list[str]:
        return [_TYPED.sub(lambda typed: names.get(typed[1], typed[0]), one) for one in warnings]

    powered, turning, look = result.prediction_powered, result.sensitivity, result.second_look
    rolled = result.rollout
    return result.model_copy(
        update={
            "candidates": [
                one.model_copy(
                    update={
                        "name": called(one.name),
                        "title": one.name,
                        "warnings": reword(one.warnings),
                    }
                )
                for one in result.candidates
            ],
            "warnings": reword(result.warnings),
            "pairs": [rename(pair, "a", "b") for pair in result.pairs],
            "verdict": verdict_in_words(result.verdict, names),
            "replacements": [
                _replacement_in_words(one, result.margin, scale_of(result), called)
                for one in result.replacements
            ],
            "curves": [rename(curve, "candidate") for curve in result.curves],
            "confusions": [rename(one, "candidate") for one in result.confusions],
            "routing": [
                rename(one, "candidate").model_copy(
                    update={"arms": [rename(arm, "name") for arm in one.arms]}
                )
                for one in result.routing
            ],
            "additions": [
                rename(square, "a", "b", "neither", "both") for square in result.additions
            ],
            "sensitivity": turning
            and rename(turning, "cheapest").model_copy(
                update={"turns": [rename(turn, "instead") for turn in turning.turns]}
            ),
            "second_look": look
            and look.model_copy(update={"raters": [called(name) for name in look.raters]}),
            "rollout": rolled
            and rolled.model_copy(
                update={
                    "candidates": [rename(one, "candidate") for one in rolled.candidates],
                    "left_out": [rename(one, "candidate") for one in rolled.left_out],
                }
            ),
            "prediction_powered": powered
            and powered.model_copy(
                update={
                    "scores": [rename(one, "candidate") for one in powered.scores],
                    "pairs": [rename(one, "a", "b") for one in powered.pairs],
                }
            ),
        }
    )


def _replacement_in_words(
    one: Replacement, margin: float, scale: Scale, called: Callable[[str], str]
) -> Replacement:
    no_worse, worse, not_shown = (
        [called(name) for name in names] for names in (one.no_worse, one.worse, one.not_shown)
    )
    name, quoted = called(one.replaced), reasons.quoted
    return Replacement(
        replaced=name,
        model=one.model,
        score=one.score,
        no_worse=no_worse,
        worse=worse,
        not_shown=not_shown,
        settled_by=one.settled_by,
        sentence=reasons.replaced(
            quoted(name),
            one.score,
            margin,
            [*map(quoted, no_worse)],
            [*map(quoted, worse)],
            quoted(not_shown[0]) if not_shown else None,
            one.settled_by,
            scale,
        ),
    )


def verdict_in_words(verdict: Verdict, names: Mapping[str, str]) -> Verdict:
    """The verdict with candidates called as in `in_words`.

    Args:
        names: of its result; empty where it has none.
    """
    named, lists = ("recommend", "use_meanwhile"), ("as_good", "shortlist", "not_judged")
    reason = verdict.reason_in_words if names else None
    return verdict.model_copy(
        update={
            "reason": reason or verdict.reason,
            **{f: names.get(name, name) for f in named if (name := getattr(verdict, f))},
            **{f: [names.get(name, name) for name in getattr(verdict, f)] for f in lists},
        }
    )


def rows_in_words(rows: Iterable[AnswerRow], names: Mapping[str, str]) -> list[AnswerRow]:
    """The rows with candidates called as in `in_words`.

    Args:
        names: of their result.
    """
    fields = ("answers", "scores", "arms")
    return [
        row.model_copy(
            update={
                field: {names.get(name, name): value for name, value in getattr(row, field).items()}
                for field in fields
            }
        )
        for row in rows
    ]
