"""Prediction-powered intervals in front of people, beside those of the labelled rows alone."""

from __future__ import annotations

from typing import NamedTuple

from assay.compare.reasons import signed
from assay.compare.report import wording
from assay.compare.result import Result
from assay.evaluate.prediction_powered import PredictionPowered

COLUMNS = (
    "score or difference",
    "labelled rows alone",
    "with unlabelled inputs",
    "worth labelled rows",
)


class Line(NamedTuple):
    """A score or a difference: alone, with the unlabelled inputs, and what these are worth."""

    what: str
    alone: str
    powered: str
    worth: str


def summary(found: PredictionPowered) -> str:
    """What was labelled by whom, how good the labels are, what they cost, what it all is worth."""
    price = "" if found.usd is None else f" Its labels cost {wording.usd(found.usd)}."
    left_out = (
        f" {found.twins:,} more that say the same as a labelled row, or nearly, were left out."
        if found.twins
        else ""
    )
    done = (
        f"{found.unlabelled:,} inputs without a label were labelled by {found.model}, which scores "
        f"{wording.in_100(found.annotator_score)} of 100 on the {found.labelled:,} labelled rows "
        f"of the holdout.{left_out}{price}"
    )
    if found.withheld is not None:
        return f"{done} They make no interval narrower: {found.withheld}."
    return (
        f"{done} How far its labels mislead is measured on the labelled rows and taken out, so the "
        "ranges hold however wrong it is, if the inputs come from where the holdout comes from. "
        "The verdict does not rest on them."
    )


def lines(result: Result) -> list[Line]:
    """Scores, the best first, then differences; none where the intervals are withheld."""
    found = result.prediction_powered
    if found is None:
        return []
    alone = {one.name: one for one in result.candidates}
    pairs = {(pair.a, pair.b): pair for pair in result.pairs}
    scores = [
        Line(
            one.candidate,
            f"{wording.in_100(before.score)} ({wording.interval(before)})",
            f"{wording.in_100(one.score)} ({wording.in_100(one.low)} – {wording.in_100(one.high)})",
            f"{one.worth:,}",
        )
        for one in sorted(found.scores, key=lambda one: -one.score)
        if (before := alone.get(one.candidate)) is not None
    ]
    return scores + [
        Line(
            f"{one.a} − {one.b}",
            _points(by_labels.difference, by_labels.low, by_labels.high),
            _points(one.difference, one.low, one.high),
            f"{one.worth:,}",
        )
        for one in found.pairs
        if (by_labels := pairs.get((one.a, one.b))) is not None
    ]


def _points(difference: float, low: float, high: float) -> str:
    return f"{signed(difference)} ({signed(low)} to {signed(high)})"
