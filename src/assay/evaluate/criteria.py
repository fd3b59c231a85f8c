"""The criteria of an eval: OpenAI's graders, and from where on an answer passes.

    criterion = CRITERION.validate_python({"type": "string_check", "name": "same", ...})
    check(criterion)
    grade(criterion, {"item": {"answer": "yes"}, "sample": {"output_text": "yes"}})

A criterion that asks a model (`MODEL_CRITERIA`) is graded by whoever can ask one: `judge_body` is
the request, `read_judgement` reads the answer.
https://platform.openai.com/docs/api-reference/evals
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from assay import json_reader
from assay.config.strict import ClosedModel
from assay.evaluate import rewards
from assay.evaluate.rewards import Embed, StringCheck, TextSimilarity, UnsupportedGrader
from assay.evaluate.templates import Name, Template, check_templates, fill

MOST_MESSAGES = 200
MOST_PARTS = 100
MOST_LABELS = 1000
_Label = Annotated[str, StringConstraints(min_length=1, max_length=500)]
_Labels = Annotated[list[_Label], Field(min_length=1, max_length=MOST_LABELS, fail_fast=True)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class TextPart(ClosedModel):
    """A part of a message; images and sound are not read here."""

    type: Literal["input_text", "output_text", "text"]
    text: Template


_Parts = Annotated[list[Template | TextPart], Field(max_length=MOST_PARTS, fail_fast=True)]


class TemplateMessage(ClosedModel):
    """A turn, in whose text `{{item...}}` and `{{sample...}}` stand for values."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Template | TextPart | _Parts

    @property
    def text(self) -> str:
        """Its parts, one behind the other."""
        parts = self.content if isinstance(self.content, list) else [self.content]
        return "".join(part if isinstance(part, str) else part.text for part in parts)


Messages = Annotated[
    list[TemplateMessage], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)
]


class SimilarityCriterion(TextSimilarity):
    """Passed by a text that is alike enough."""

    pass_threshold: float


class JudgeSampling(ClosedModel):
    """How the judge answers."""

    max_completions_tokens: Annotated[int, Field(ge=1, le=2**31)] | None = None
    reasoning_effort: Annotated[str, StringConstraints(max_length=20)] | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None

    def to_body(self) -> dict[str, Any]:
        """The fields of a request to chat completions; the name of one is another there."""
        given = self.model_dump(exclude_none=True)
        if (most := given.pop("max_completions_tokens", None)) is not None:
            given["max_completion_tokens"] = most
        return given


class _ModelCriterion(ClosedModel):
    name: Name
    model: ModelName
    input: Messages


class ScoreModelCriterion(_ModelCriterion):
    """A model gives a number within `range`; it passes from `pass_threshold` on, by default the
    middle of the range."""

    type: Literal["score_model"]
    range: Annotated[
        list[float],
        Field(default_factory=lambda: [0.0, 1.0], min_length=2, max_length=2, fail_fast=True),
    ]
    sampling_params: JudgeSampling | None = None
    pass_threshold: float | None = None

    @model_validator(mode="after")
    def _rising(self) -> ScoreModelCriterion:
        if self.range[0] >= self.range[1]:
            raise ValueError("`range` must go from a smaller to a larger number")
        return self

    @property
    def least(self) -> float:
        """The smallest score that passes."""
        return sum(self.range) / 2 if self.pass_threshold is None else self.pass_threshold


class LabelModelCriterion(_ModelCriterion):
    """A model chooses a label; some of them pass."""

    type: Literal["label_model"]
    labels: _Labels
    passing_labels: _Labels

    @model_validator(mode="after")
    def _known(self) -> LabelModelCriterion:
        if unknown := set(self.passing_labels) - set(self.labels):
            raise ValueError(f"`passing_labels` has {min(unknown)[:80]!r}, which `labels` has not")
        return self


class PythonCriterion(UnsupportedGrader):
    """Read, so that it can be refused by name."""

    type: Literal["python"]


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
    """Refuse what cannot be graded, before anything is.

    Raises:
        UsageError: it needs code or a metric that is not there, or has a template that says
            nothing.
    """
    if isinstance(criterion, MODEL_CRITERIA):
        check_messages(criterion.input)
    else:
        rewards.check(criterion)


def check_messages(
    messages: Sequence[TemplateMessage], names: Collection[str] = ("item", "sample")
) -> None:
    """Refuse variables that cannot be put in.

    Args:
        names: that variables may begin with.

    Raises:
        UsageError: there is one.
    """
    check_templates(*(message.text for message in messages), names=names)


def grade(
    criterion: StringCheck | SimilarityCriterion | PythonCriterion,
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


def fill_messages(
    messages: Sequence[TemplateMessage], names: Mapping[str, Any]
) -> list[dict[str, str]]:
    """The turns of a template with its variables put in.

    Raises:
        VariableError: a variable names what is not there.
        UsageError: a text is too long.
    """
    return [{"role": message.role, "content": fill(message.text, names)} for message in messages]


def judge_body(
    criterion: ScoreModelCriterion | LabelModelCriterion, messages: Sequence[dict[str, str]]
) -> dict[str, Any]:
    """The request to chat completions that asks the judge.

    Args:
        messages: its own, from `fill_messages`.
    """
    if isinstance(criterion, LabelModelCriterion):
        answer, sampling = {"type": "string", "enum": criterion.labels}, {"temperature": 0}
    else:
        answer = {"type": "number"}
        sampling = criterion.sampling_params.to_body() if criterion.sampling_params else {}
    schema = {
        "type": "object",
        "properties": {"result": answer},
        "required": ["result"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "judgement", "schema": schema}}
    asked = {"model": criterion.model, "messages": messages, "response_format": form}
    return {**sampling, **asked}


def read_judgement(criterion: ScoreModelCriterion | LabelModelCriterion, text: str) -> Grade:
    """What the judge's answer says."""
    wrong = Grade(0.0, False, "model_grader_parse_error")
    try:
        result = json_reader.read(text)["result"]
    except (ValueError, KeyError, TypeError):
        return wrong
    if isinstance(criterion, LabelModelCriterion):
        if result not in criterion.labels:
            return wrong
        passed = result in criterion.passing_labels
        return Grade(float(passed), passed)
    low, high = criterion.range
    if isinstance(result, bool) or not isinstance(result, int | float) or not low <= result <= high:
        return wrong
    return Grade(float(result), result >= criterion.least)
