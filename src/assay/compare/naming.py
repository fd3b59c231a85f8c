"""What the candidates of a comparison are called where people read: in the report and the studio.

On a command line and in files they have the names that are typed there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from assay.candidates import registry
from assay.compare.result import AnswerRow, Result


class CandidateName(Protocol):
    """What names a candidate, built or in a result."""

    @property
    def name(self) -> str:
        """As it is typed in commands and files."""

    @property
    def kind(self) -> str:
        """Of a saved agent the name that it was saved by; `outside` of answers of a file."""


def plain_names(candidates: Iterable[CandidateName]) -> dict[str, str]:
    """What each candidate is called, by its name; no two alike."""
    found = {one.name: _plain_name(one) for one in candidates}
    times = Counter(found.values())
    return {name: plain if times[plain] == 1 else name for name, plain in found.items()}


def _plain_name(one: CandidateName) -> str:
    plain = registry.plain_name(one.kind)
    version = one.name.removeprefix(f"{one.kind}-")
    if one.name != one.kind and version.isdecimal():  # a saved agent
        return f"{plain or one.kind}, version {version}"
    return plain or one.name


def in_words(result: Result) -> Result:
    """The result with candidates called by what they are, wherever figures or the verdict speak
    of them; the `title` of each is then the name that is typed. The plan and the warnings stay as
    they were written, with the names that are typed."""
    names = plain_names(result.candidates)

    def called(name: str | None) -> str | None:
        if name is None:
            return None
        return names.get(name) or registry.plain_name(name) or name

    def rename(value: Any, *fields: str) -> Any:
        return value.model_copy(update={f: called(getattr(value, f)) for f in fields})

    verdict, powered, turning = result.verdict, result.prediction_powered, result.sensitivity
    look = result.second_look
    lists = ("as_good", "shortlist", "not_judged")
    return result.model_copy(
        update={
            "candidates": [
                one.model_copy(update={"name": called(one.name), "title": one.name})
                for one in result.candidates
            ],
            "pairs": [rename(pair, "a", "b") for pair in result.pairs],
            "verdict": rename(verdict, "recommend", "use_meanwhile").model_copy(
                update={
                    "reason": verdict.reason_in_words or verdict.reason,
                    **{f: [called(name) for name in getattr(verdict, f)] for f in lists},
                }
            ),
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
            "prediction_powered": powered
            and powered.model_copy(
                update={
                    "scores": [rename(one, "candidate") for one in powered.scores],
                    "pairs": [rename(one, "a", "b") for one in powered.pairs],
                }
            ),
        }
    )


def rows_in_words(rows: Iterable[AnswerRow], names: Mapping[str, str]) -> list[AnswerRow]:
    """The rows with candidates called as in `in_words`.

    Args:
        names: of `plain_names`.
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
