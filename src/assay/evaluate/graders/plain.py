"""Graders of short answers: exact, contains, label-accuracy, numeric, regex."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator

from assay import patterns
from assay.evaluate.graders.parse import fold, parse_label
from assay.evaluate.graders.registry import (
    GraderSettings,
    GradingContext,
    Score,
    against_reference,
    of_answer,
)
from assay.example import Example
from assay.quantities import say_count


class ExactSettings(GraderSettings):
    """Settings of `exact`."""

    normalise: bool = Field(
        False, description="ignore case, width (NFKC) and the amount of white space"
    )


@against_reference(
    "exact",
    "1 when the answer is the expected text, white space around it not counted.",
    settings=ExactSettings,
)
def exact(answer: str, reference: str, settings: ExactSettings, context: GradingContext) -> Score:
    """1 when the texts are equal, stripped or (`normalise`) folded."""
    tidy = fold if settings.normalise else str.strip
    return Score(float(tidy(answer) == tidy(reference)))


class ContainsSettings(GraderSettings):
    """Settings of `contains`."""

    max_words: int | None = Field(
        None,
        ge=1,
        description="an answer of more words scores 0, since one that says everything would always "
        "hold the expected text",
    )
    whole_words: bool = Field(
        True,
        description="whether it must not stand there as a part of a longer word or number; false "
        "for languages without spaces",
    )


@against_reference(
    "contains",
    "1 when the expected text, a short fact, stands in the answer, as whole words unless "
    "whole_words is false: “Wednesday” does not stand in “Wednesdays”. Case and the amount of "
    "white space do not count, punctuation does.",
    settings=ContainsSettings,
)
def contains(
    answer: str, reference: str, settings: ContainsSettings, context: GradingContext
) -> Score:
    """Whether the folded reference is in the folded answer; a blank one only in a blank answer."""
    words = len(answer.split())
    if settings.max_words is not None and words > settings.max_words:
        return Score(0.0, note=say_count(words, "word"))
    wanted, said = fold(reference), fold(answer)
    if not wanted:
        return Score(float(not said))
    return Score(float(_pattern(wanted, whole_words=settings.whole_words).search(said) is not None))


def _pattern(wanted: str, *, whole_words: bool) -> re.Pattern[str]:
    """Finds a text, on demand not within a longer word or number."""
    start = r"(?<!\w)(?<!\d[.,:])" if whole_words and re.match(r"\w", wanted) else ""
    end = r"(?!\w|[.,:]\d)" if whole_words and re.search(r"\w\Z", wanted) else ""
    return re.compile(start + re.escape(wanted) + end)


class LabelSettings(GraderSettings):
    """Settings of `label-accuracy`: none of its own."""


@against_reference(
    "label-accuracy",
    "1 when the answer is the expected label; an answer outside the label set counts as failed.",
    settings=LabelSettings,
    needs=("labels",),
)
def label_accuracy(
    answer: str, reference: str, settings: LabelSettings, context: GradingContext
) -> Score:
    """Equality of the labels as `parse_label` reads them."""
    label = parse_label(answer, context.labels)
    if label is None:
        return Score(0.0, parsed=False, note="not a label of the set")
    return Score(float(label == (parse_label(reference, context.labels) or reference.strip())))


class NumericSettings(GraderSettings):
    """Settings of `numeric`."""

    tolerance: float = Field(
        0.0, ge=0, description="largest absolute difference that counts as right"
    )
    relative: float = Field(
        0.0,
        ge=0,
        description="largest difference that counts as right, as a share of the expected number",
    )
    where: Literal["last", "whole"] = Field(
        "last", description="the last number in the answer, or the whole answer must be one"
    )
    decimal: Literal[".", ","] = Field(".", description="the decimal mark")


_SIGN = "[-+\N{MINUS SIGN}]?"
_EXPONENT = r"(?:[eE][-+]?\d{1,3})?"


def _number_pattern(decimal: str) -> re.Pattern[str]:
    grouping = {".": ",", ",": "."}[decimal] + "'’_\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
    mark = re.escape(decimal)
    grouped = rf"\d{{1,3}}(?:[{re.escape(grouping)}]\d{{3}})+(?!\d)(?:{mark}\d+)?"
    plain = rf"(?:\d+(?:{mark}\d+)?|{mark}\d+)"
    # A hyphen after a word character joins (`A-4`, `3-5`); it is no sign.
    return re.compile(rf"(?:(?<!\w){_SIGN})?(?:{grouped}|{plain}){_EXPONENT}")


_NUMBERS = {mark: _number_pattern(mark) for mark in ".,"}


def _number(text: str, settings: NumericSettings) -> Decimal | None:
    """The number in `text`, thousand separators removed; None when there is none."""
    pattern = _NUMBERS[settings.decimal]
    if settings.where == "whole":
        match = pattern.fullmatch(text.strip())
        found = match.group() if match else None
    else:
        found = next(reversed(pattern.findall(text)), None)
    if found is None:
        return None
    found = found.replace("\N{MINUS SIGN}", "-").replace(settings.decimal, "d")
    return Decimal(re.sub(r"[^\w+-]|_", "", found).replace("d", "."))


@against_reference(
    "numeric",
    "1 when the number in the answer is the expected one, within a tolerance.",
    settings=NumericSettings,
    wants="number",
)
def numeric(
    answer: str, reference: str, settings: NumericSettings, context: GradingContext
) -> Score | None:
    """|answer - expected| <= max(tolerance, relative * |expected|), in decimal arithmetic."""
    expected = _number(reference, settings)
    if expected is None:
        return None
    found = _number(answer, settings)
    if found is None:
        return Score(0.0, parsed=False, note="no number")
    allowed = max(Decimal(str(settings.tolerance)), Decimal(str(settings.relative)) * abs(expected))
    return Score(float(abs(found - expected) <= allowed))


class RegexSettings(GraderSettings):
    """Settings of `regex`."""

    pattern: str = Field(min_length=1, description="in the syntax of Python's `re`")
    match: Literal["search", "full"] = Field(
        "search", description="somewhere in the answer, or the whole of it"
    )
    ignore_case: bool = False
    seconds: float = Field(1.0, gt=0, le=60, description="after which matching counts as failed")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        patterns.compile_pattern(value)
        return value

    @cached_property
    def compiled(self) -> Any:
        """The pattern, whose matching can be stopped."""
        return patterns.compile_pattern(self.pattern, ignore_case=self.ignore_case)


@of_answer(
    "regex",
    "1 when the answer matches a regular expression (white space around it not counted).",
    settings=RegexSettings,
)
def regex(answer: str, example: Example, settings: RegexSettings, context: GradingContext) -> Score:
    """Match within the time limit: a careless pattern can take for ever on some answers."""
    compiled = settings.compiled
    match = compiled.fullmatch if settings.match == "full" else compiled.search
    try:
        return Score(float(match(answer.strip(), timeout=settings.seconds) is not None))
    except TimeoutError:
        return Score(0.0, note=f"matching took more than {settings.seconds:g} s")
