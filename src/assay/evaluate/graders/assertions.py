"""`assertions`: whether an answer passes what its own row asks of it, as promptfoo decides it.

The forms are in `assay.data.assertions`. A row passes where each of its assertions does. Those that
need a judging model say nothing here: they are what the grader `judge` goes by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import Field
from rapidfuzz.distance import Levenshtein

from assay import patterns
from assay.config import STARTER_EMBEDDER
from assay.config.names import ModelName
from assay.data.assertions import JUDGED, SET, flat, split_type, validator_of
from assay.data.json_schema import mismatches
from assay.errors import ConfigError
from assay.evaluate.graders.parse import parse_json, spelling
from assay.evaluate.graders.promptfoo_metrics import bleu, gleu, rouge_1
from assay.evaluate.graders.registry import GraderSettings, GradingContext, Score, of_answer
from assay.example import Example
from assay.models.embed import get_embedder

LEAST = {"rouge-n": 0.75, "bleu": 0.5, "gleu": 0.5, "similar": 0.75}
"""Where an assertion passes that names no `threshold`."""
MOST_EDITS = 5
MATCHING_S = 1.0
"""After which a pattern cannot be checked."""
_compiled = lru_cache(64)(patterns.compile_pattern)


class AssertionSettings(GraderSettings):
    """Settings of `assertions`."""

    embedder: ModelName = Field(STARTER_EMBEDDER, description="embedding model of `similar`")


class CheckError(Exception):
    """An answer that cannot be checked: a pattern takes too long, a schema cannot be followed."""


class Outcome(NamedTuple):
    """What came of an assertion.

    Attributes:
        score: from 0 to 1; what thresholds of sets are compared with.
        broken: the types that did not pass.
    """

    passed: bool
    score: float
    broken: tuple[str, ...] = ()


@of_answer(
    "assertions",
    "1 when the answer passes every assertion of its row.",
    settings=AssertionSettings,
)
def assertions(
    answer: str, example: Example, settings: AssertionSettings, context: GradingContext
) -> Score:
    """Not counted for a row without an assertion that can be checked without a judge."""
    found = _all(example.assertions, answer.strip(), settings)
    if found is None:
        return Score(1.0, counted=False)
    note = None if found.passed else f"not passed: {', '.join(dict.fromkeys(found.broken))}"
    return Score(float(found.passed), note=note)


def rubric_of(example: Example) -> str | None:
    """What a judge is to look for in the answers to a row; None: its assertions do not say."""
    said = [_sentence(one) for one in judged_of(example.assertions)]
    return " ".join(said) or None


def judged_of(assertions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that the grader `judge` goes by, of sets without the set."""
    return [one for one in flat(assertions) if split_type(one)[0] in JUDGED]


def _sentence(assertion: dict[str, Any]) -> str:
    name, inverse = split_type(assertion)
    if "factuality" in name:
        which = "contradicts" if inverse else "agrees with"
        return f"Which answer {which} this statement? {assertion['value']}"
    which = "does less of" if inverse else "meets"
    return f"Which answer {which} this better? {assertion['value']}"


def _all(
    assertions: Sequence[dict[str, Any]],
    text: str,
    settings: AssertionSettings,
    threshold: float | None = None,
) -> Outcome | None:
    """What comes of several; None: none of them can be checked here."""
    known = [(one, found) for one in assertions if (found := _one(one, text, settings)) is not None]
    if not known:
        return None
    weights = [float(one.get("weight", 1)) for one, _ in known]
    total = sum(weights)
    scores = [found.score for _, found in known]
    score = sum(w * s for w, s in zip(weights, scores, strict=True)) / total if total else 0.0
    # As promptfoo: a threshold decides alone.
    passed = all(found.passed for _, found in known) if threshold is None else score >= threshold
    broken = tuple(name for _, found in known for name in found.broken)
    return Outcome(passed, score, () if passed else broken)


def _one(assertion: dict[str, Any], text: str, settings: AssertionSettings) -> Outcome | None:
    kind, inverse = split_type(assertion)
    if kind in JUDGED:
        return None
    found: Outcome | None
    if kind == SET:
        found = _all(assertion["assert"], text, settings, assertion.get("threshold"))
        if found is None:
            return None
    else:
        try:
            score, least = _score(kind, assertion, text, settings)
        except CheckError:
            # What cannot be checked is not passed, whichever way round it is asked.
            found = Outcome(False, 0.0, (f"{assertion['type']} (could not be checked)",))
        else:
            passed = (score >= least) != inverse
            found = Outcome(passed, 1 - score if inverse else score, (assertion["type"],))
        if assertion.get("weight", 1) == 0:
            return Outcome(True, found.score)
    return Outcome(True, found.score) if found.passed else found


def _score(
    kind: str, assertion: dict[str, Any], text: str, settings: AssertionSettings
) -> tuple[float, float]:
    """The score of an answer, and from where on it passes."""
    value = assertion.get("value")
    if kind in LEAST:
        least = float(assertion.get("threshold", LEAST[kind]))
        if kind == "similar":
            return _similarity(text, value, settings.embedder), least
        return _LIKENESS[kind](text, str(value)), least
    if kind == "levenshtein":
        most = int(assertion.get("threshold", MOST_EDITS))
        return float(Levenshtein.distance(text, str(value), score_cutoff=most) <= most), 1.0
    return float(_TESTS[kind](text, value)), 1.0


def _similarity(text: str, value: Any, embedder: str) -> float:
    wanted = value if isinstance(value, list) else [value]
    first, *others = get_embedder(embedder).encode([text, *wanted])
    return min(1.0, max(0.0, *(float(first @ other) for other in others)))


def _equals(text: str, value: Any) -> bool:
    if isinstance(value, str):
        return text == value.strip()
    parsed = parse_json(text)
    return parsed is not None and spelling(parsed.value) == spelling(value)


def _regex(text: str, value: str) -> bool:
    try:
        return _compiled(value).search(text, timeout=MATCHING_S) is not None
    except TimeoutError:
        raise CheckError from None


def _is_json(text: str, schema: dict[str, Any] | None) -> bool:
    parsed = parse_json(text)
    if parsed is None or schema is None:
        return parsed is not None
    try:
        return next(mismatches(validator_of(schema), parsed.value, "an assertion"), None) is None
    except ConfigError:  # in a part of the schema that only this answer reaches
        raise CheckError from None


def _word_count(text: str, value: Any) -> bool:
    limits = value if isinstance(value, dict) else {"min": value, "max": value}
    least, most, found = limits.get("min"), limits.get("max"), len(text.split())
    return (least is None or found >= least) and (most is None or found <= most)


_LIKENESS: dict[str, Callable[[str, str], float]] = {
    "rouge-n": rouge_1,
    "bleu": bleu,
    "gleu": gleu,
}
_TESTS: dict[str, Callable[[str, Any], bool]] = {
    "equals": _equals,
    "contains": lambda text, value: value in text,
    "icontains": lambda text, value: value.lower() in text.lower(),
    "starts-with": lambda text, value: text.startswith(value),
    "ends-with": lambda text, value: text.endswith(value),
    "contains-any": lambda text, values: any(value in text for value in values),
    "contains-all": lambda text, values: all(value in text for value in values),
    "icontains-any": lambda text, values: any(v.lower() in text.lower() for v in values),
    "icontains-all": lambda text, values: all(v.lower() in text.lower() for v in values),
    "regex": _regex,
    "is-json": _is_json,
    "word-count": _word_count,
}
