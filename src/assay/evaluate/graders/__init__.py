"""Graders: what one answer to one example is worth, from 0 to 1.

A new grader is one function with one of three decorators from `registry`, in a file that is
imported here; its settings are a pydantic model, its description goes into docs/graders.md:

    @against_reference("exact", "Is the answer the expected text?", settings=ExactSettings)
    def exact(answer, reference, settings, context): ...

Files: parse (what counts as an answer), registry (how graders are declared, checked and called),
plain (exact, contains, label-accuracy, numeric, regex), records (JSON), text (token-f1, rouge-l,
chrf), calls (of functions) and values (of their arguments), terms and style (domain terminology and
brand voice), agreement (consistency), assertions (what each row asks for), judge (a model), code
(python).
"""

from assay.evaluate.graders import (
    agreement,
    assertions,
    calls,
    code,
    judge,
    plain,
    records,
    style,
    terms,
    text,
)
from assay.evaluate.graders.parse import ParsedValue, parse_answer, parse_json, parse_label
from assay.evaluate.graders.registry import (
    GRADERS,
    AnswerScores,
    Grader,
    GradingContext,
    Score,
    check_graders,
    grade,
    grader_files,
)
from assay.evaluate.graders.terms import mine_terms

__all__ = [
    "GRADERS",
    "AnswerScores",
    "Grader",
    "GradingContext",
    "ParsedValue",
    "Score",
    "agreement",
    "assertions",
    "calls",
    "check_graders",
    "code",
    "grade",
    "grader_files",
    "judge",
    "mine_terms",
    "parse_answer",
    "parse_json",
    "parse_label",
    "plain",
    "records",
    "style",
    "terms",
    "text",
]
