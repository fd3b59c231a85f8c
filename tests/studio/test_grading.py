"""How a comparison says that its answers were judged."""

from __future__ import annotations

from assay.config import GraderSpec
from assay.studio.shared.grading import (
    explain_grading,
    explain_length,
    explain_likeness,
    find_primary,
)
from tests.compare.sample import sample_result

SHORT = GraderSpec(name="contains", settings={"as": "fact", "max_words": 3})


def test_the_primary_grader_is_explained_with_its_settings() -> None:
    said = explain_grading(SHORT)
    assert "by the grader contains: 1 when the expected text, a short fact, stands in the" in said
    assert "as whole words unless whole_words is false" in said
    assert " Its setting max_words is 3: an answer of more words scores 0" in said
    assert "fact:" not in said
    assert explain_grading(GraderSpec(name="gone")).endswith("by the grader gone.")
    graders = {"graders": [{"name": "exact"}, SHORT.model_dump()]}
    result = sample_result(20).model_copy(update={"primary": "fact", "config": graders})
    assert find_primary(result) == SHORT
    assert find_primary(result.model_copy(update={"config": {}})) is None


def test_an_answer_that_is_too_long_says_so() -> None:
    assert explain_length(SHORT, "one two three") is None
    assert explain_length(SHORT, "one two three four") == "4 words, more than 3 score 0"
    assert explain_length(GraderSpec(name="exact"), "one two three four") is None
    assert explain_length(None, "one two three four") is None


def test_where_likeness_decides_of_short_answers_another_grader_is_advised() -> None:
    likeness, short = GraderSpec(name="rouge-l"), ["12 euros a year.", "From Monday on.", "Yes."]
    told, fact, judge = explain_likeness(likeness, short, 0.6)
    assert "at most 3 words" in told
    assert "minimum score of 60 asks for so many points of likeness" in told
    assert "contains" in fact
    assert "judge" in judge
    assert "minimum" not in explain_likeness(likeness, short, None)[0]
    assert not explain_likeness(likeness, ["A long answer of many words. " * 4], 0.6)
    assert not explain_likeness(SHORT, short, 0.6)
    assert not explain_likeness(likeness, [], 0.6)
