"""The criteria of an eval: OpenAI's graders, and from where on an answer passes.

    criterion = CRITERION.validate_python({"type": "string_check", "name": "same", ...})
    check(criterion)
    grade(criterion, {"item": {"answer": "yes"}, "sample": {"output_text": "yes"}})

A criterion that asks a model (`MODEL_CRITERIA`) is graded by whoever can ask one: `judge_body` is
the request, `read_judgement` reads the answer. One of code (`PythonCriterion`) is graded by
`grade_by_code`, where the owner of the machine has said that code of requests is run.
https://platform.openai.com/docs/api-reference/evals
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, TypeAdapter

from assay.config.strict import ClosedModel
from assay.evaluate import confined, rewards
from assay.evaluate.confined import TimeAllowance
from assay.evaluate.model_graders import (
    LabelModel,
    ScoreModel,
    answer_schema,
    read_reply,
)
from assay.evaluate.rewards import Embed, StringCheck, TextSimilarity
from assay.evaluate.templates import Name

LONGEST_SOURCE = 256 * 1024
"""Characters."""


class SimilarityCriterion(TextSimilarity):
    """Passed by a text that is alike enough."""

    pass_threshold: float


class ScoreModelCriterion(ScoreModel):
    """It passes from `pass_threshold` on, by default the middle of the range."""

    pass_threshold: float | None = None

    @property
    def least(self) -> float:
        """The smallest score that passes."""
        return sum(self.range) / 2 if self.pass_threshold is None else self.pass_threshold


class LabelModelCriterion(LabelModel):
    """A label passes or does not."""


class PythonCriterion(ClosedModel):
    """What `grade(sample, item)` of a source returns; `pass_threshold` is 0.5 by default.

    Attributes:
        image_tag: of the machine that OpenAI runs it on; taken, and without effect.
    """

    type: Literal["python"]
    name: Name
    source: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_SOURCE)]
    image_tag: Annotated[str, StringConstraints(max_length=100)] | None = None
    pass_threshold: float | None = None

    @property
    def least(self) -> float:
        """The smallest score that passes."""
        return 0.5 if self.pass_threshold is None else self.pass_threshold


MODEL_CRITERIA = ScoreModelCriterion, LabelModelCriterion
Criterion = (
    StringCheck | SimilarityCriterion | ScoreModelCriterion | LabelModelCriterion | PythonCriterion
)
CRITERION: TypeAdapter[Criterion] = TypeAdapter(Annotated[Criterion, Field(discriminator="type")])


@dataclass(frozen=True, slots=True)
class Grade:
    """What a criterion says of one answer.

    Attributes:
        error: OpenAI's name of what went wrong; None: nothing did.
        compared: characters times characters, with those before it, see `rewards.MOST_COMPARED`.
    """

    score: float
    passed: bool
    error: str | None = None
    compared: int = 0


def check(criterion: Criterion) -> None:
    """Refuse what cannot be graded, before anything is; code is not looked at.

    Raises:
        UsageError: it needs a metric that is not there, or has a template that says nothing.
    """
    if not isinstance(criterion, PythonCriterion):
        rewards.check(criterion, judged=True)


def grade(
    criterion: StringCheck | SimilarityCriterion,
    names: Mapping[str, Any],
    embed: Embed,
    compared: int = 0,
) -> Grade:
    """Grade an answer without asking a model.

    Args:
        names: what `item` and `sample` stand for.
        embed: texts to vectors of length 1, for the metric `cosine`.
        compared: for the criteria of the item that came before.

    Raises:
        UsageError: see `check`; or a text is too long, or those of the item are together.
    """
    reward = rewards.run_with(criterion, names, embed, compared)
    if reward.errors:
        return Grade(0.0, False, min(reward.errors), reward.compared)
    least = criterion.pass_threshold if isinstance(criterion, SimilarityCriterion) else 1.0
    return Grade(reward.reward, reward.reward >= least, compared=reward.compared)


def grade_by_code(
    criterion: PythonCriterion, names: Mapping[str, Any], allowance: TimeAllowance
) -> Grade:
    """Run a criterion's code on an answer, shut off from the machine.

    Args:
        names: what `item` and `sample` stand for.
        allowance: see `confined.run_grade`.

    Raises:
        CodeError, ConfinementError: as `confined.run_grade`.
    """
    score = confined.run_grade(criterion.source, names["sample"], names["item"], allowance)
    return Grade(score, score >= criterion.least)


def sampling_of(criterion: ScoreModelCriterion | LabelModelCriterion) -> dict[str, Any]:
    """How the judge answers, as fields of a request to chat completions."""
    if isinstance(criterion, LabelModelCriterion):
        return {"temperature": 0}
    return criterion.sampling_params.to_body() if criterion.sampling_params else {}


def judge_body(
    criterion: ScoreModelCriterion | LabelModelCriterion, messages: Sequence[dict[str, str]]
) -> dict[str, Any]:
    """The request to chat completions that asks the judge.

    Args:
        messages: its own, from `fill_messages`.
    """
    schema = answer_schema(criterion)
    form = {"type": "json_schema", "json_schema": {"name": "judgement", "schema": schema}}
    asked = {"model": criterion.model, "messages": messages, "response_format": form}
    return {**sampling_of(criterion), **asked}


def read_judgement(criterion: ScoreModelCriterion | LabelModelCriterion, text: str) -> Grade:
    """What the judge's answer says."""
    score = read_reply(criterion, text)
    if score is None:
        return Grade(0.0, False, "model_grader_parse_error")
    least = 1.0 if isinstance(criterion, LabelModelCriterion) else criterion.least
    return Grade(score, score >= least)
