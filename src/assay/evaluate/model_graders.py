"""OpenAI's graders that ask a model: what it is asked about an answer, and what its reply says.

    messages = fill_messages(grader.input, {"item": item, "sample": sample})
    ...: an answer to them, a JSON object with `result`, as `answer_schema` says
    read_reply(grader, text)          # 0.7; None: it says nothing

Who is asked, and what may be spent on it, is told by those who grade.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from assay import json_reader
from assay.config.strict import ClosedModel
from assay.evaluate.templates import Name, Template, check_templates, fill

MOST_MESSAGES = 200
MOST_PARTS = 100
MOST_LABELS = 1000
REPLY_TOKENS = 256
"""That a reply may have where the grader does not say."""
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


class _ModelGrader(ClosedModel):
    name: Name
    model: ModelName
    input: Messages


class ScoreModel(_ModelGrader):
    """A model gives a number within `range`."""

    type: Literal["score_model"]
    range: Annotated[
        list[float],
        Field(default_factory=lambda: [0.0, 1.0], min_length=2, max_length=2, fail_fast=True),
    ]
    sampling_params: JudgeSampling | None = None

    @model_validator(mode="after")
    def _rising(self) -> ScoreModel:
        if self.range[0] >= self.range[1]:
            raise ValueError("`range` must go from a smaller to a larger number")
        return self


class LabelModel(_ModelGrader):
    """A model chooses a label; some of them pass."""

    type: Literal["label_model"]
    labels: _Labels
    passing_labels: _Labels

    @model_validator(mode="after")
    def _known(self) -> LabelModel:
        if unknown := set(self.passing_labels) - set(self.labels):
            raise ValueError(f"`passing_labels` has {min(unknown)[:80]!r}, which `labels` has not")
        return self


MODEL_GRADERS = ScoreModel, LabelModel


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


def fill_messages(
    messages: Sequence[TemplateMessage], names: Mapping[str, Any]
) -> list[dict[str, str]]:
    """The turns of a template with its variables put in.

    Raises:
        VariableError: a variable names what is not there.
        UsageError: a text is too long.
    """
    return [{"role": message.role, "content": fill(message.text, names)} for message in messages]


def answer_schema(grader: ScoreModel | LabelModel) -> dict[str, Any]:
    """JSON Schema of the reply of who is asked."""
    answer: dict[str, Any] = {"type": "number"}
    if isinstance(grader, LabelModel):
        answer = {"type": "string", "enum": grader.labels}
    return {
        "type": "object",
        "properties": {"result": answer},
        "required": ["result"],
        "additionalProperties": False,
    }


def reply_tokens(grader: ScoreModel | LabelModel) -> int:
    """Tokens that a reply may have."""
    sampling = grader.sampling_params if isinstance(grader, ScoreModel) else None
    return (sampling and sampling.max_completions_tokens) or REPLY_TOKENS


def read_reply(grader: ScoreModel | LabelModel, text: str) -> float | None:
    """The score that a reply gives: a number of the range, or 1 for a label that passes and 0 for
    another; None where it says neither."""
    try:
        result = json_reader.read(text)["result"]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(grader, LabelModel):
        return float(result in grader.passing_labels) if result in grader.labels else None
    low, high = grader.range
    if isinstance(result, bool) or not isinstance(result, int | float) or not low <= result <= high:
        return None
    return float(result)
