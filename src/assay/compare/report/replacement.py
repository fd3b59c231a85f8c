"""Candidates beside a model of which only answers were brought: may they take its place. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from assay.compare.reasons import signed
from assay.compare.replacement_section import Replacement
from assay.compare.report import wording
from assay.compare.result import Result
from assay.compare.scale import scale_of

NO_WORSE, WORSE, NOT_SHOWN = "proven to be no worse", "worse", "not proven to be no worse"


@dataclass(frozen=True, slots=True)
class ReplacementLine:
    """A candidate beside the model that goes.

    Attributes:
        score, range_: its own; `difference`: how far it is ahead (+) or behind (−), with its range.
        says: `NO_WORSE`, `WORSE` or `NOT_SHOWN`.
    """

    name: str
    score: str
    range_: str
    difference: str
    says: str


def replacement_lines(result: Result, one: Replacement) -> list[ReplacementLine]:
    """The candidates of which it was tested whether they may take a model's place, best first."""
    tested = {**dict.fromkeys(one.no_worse, NO_WORSE), **dict.fromkeys(one.worse, WORSE)}
    tested |= dict.fromkeys(one.not_shown, NOT_SHOWN)
    pairs = [p.turned() if p.a == one.replaced else p for p in result.pairs]
    apart = {p.a: p for p in pairs if p.b == one.replaced}
    lines = []
    for c in wording.rank(result):
        if c.name in tested:
            pair = apart[c.name]
            difference = f"{signed(pair.difference)} ({signed(pair.low)} to {signed(pair.high)})"
            score, range_ = wording.in_100(c.score), wording.interval(c)
            lines.append(ReplacementLine(c.name, score, range_, difference, tested[c.name]))
    return lines


def meaning(result: Result) -> str:
    """What "no worse" asks for."""
    margin = scale_of(result).margin(result.margin)
    return (
        f"“No worse” means: proven to be at most {margin} behind the model that goes, on rows that "
        "the candidate has not learned from."
    )
