"""What an eval and a run of it are asked for: OpenAI's requests, checked.

https://platform.openai.com/docs/api-reference/evals
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from assay.config.strict import ClosedModel
from assay.evaluate.criteria import Criterion
from assay.evaluate.model_graders import Messages, ModelName
from assay.jobs.metadata import Metadata

MOST_CRITERIA = 100
MOST_FIELDS = 1000
"""Of an item, and of a schema that a client has written."""
MOST_ITEMS = 50_000
"""Of a run."""
MOST_INLINE = 5_000
"""Items within a request, whose values are counted (`assay.serve.body`); a file may have more."""
MOST_NAMES = 100
"""Users or tools that kept answers are chosen by."""
LAST_SECOND = 2**37
"""A time that a database can hold."""
_FileId = Annotated[str, StringConstraints(min_length=1, max_length=100)]
_Object = Annotated[dict[str, Any], Field(max_length=MOST_FIELDS)]
_Second = Annotated[int, Field(ge=0, le=LAST_SECOND)]
_Text = Annotated[str, StringConstraints(max_length=300)]
_ItemPath = Annotated[str, StringConstraints(pattern=r"^item(\.[\w-]+)+$", max_length=300)]


def _check_text(given: str) -> str:
    """See that a database can be asked for a text.

    Raises:
        ValueError: it has a NUL.
    """
    if "\0" in given:
        raise ValueError("a text that is searched for has no NUL characters")
    return given


def _check_pairs(given: dict[str, str]) -> dict[str, str]:
    """See that a database can be asked for pairs.

    Raises:
        ValueError: a key has a quote or a backslash, or one of both a NUL.
    """
    if any(sign in key for key in given for sign in '"\\'):
        raise ValueError("a key that is searched for has no quotes and no backslashes")
    for text in (*given, *given.values()):
        _check_text(text)
    return given


MetadataFilter = Annotated[Metadata, AfterValidator(_check_pairs)]
"""Pairs that the metadata of what is wanted has."""
_Sought = AfterValidator(_check_text)
_Names = Annotated[
    list[Annotated[_Text, _Sought]],
    Field(min_length=1, max_length=MOST_NAMES, fail_fast=True),
]


class _Part(ClosedModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class CustomConfig(_Part):
    """Items of the client's own, which fit a schema."""

    type: Literal["custom"]
    item_schema: _Object
    include_sample_schema: bool | None = None


class LogsConfig(_Part):
    """Requests that were answered and kept; `metadata`: values that all of a run have."""

    type: Literal["logs", "stored_completions"]
    metadata: MetadataFilter | None = None


class EvalRequest(_Part):
    """The body of `POST /v1/evals`."""

    data_source_config: Annotated[CustomConfig | LogsConfig, Field(discriminator="type")]
    testing_criteria: Annotated[
        list[Annotated[Criterion, Field(discriminator="type")]],
        Field(min_length=1, max_length=MOST_CRITERIA, fail_fast=True),
    ]
    metadata: Metadata | None = None
    name: _Text | None = None


class EvalChange(_Part):
    """The body of `POST /v1/evals/ID`."""

    metadata: Metadata | None = None
    name: _Text | None = None


class Sample(BaseModel):
    """An answer that is there. What else a client writes beside it is left out: it is not ours."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    output_text: str | None = None
    output_json: Any = None
    output_tools: Annotated[list[_Object], Field(max_length=MOST_FIELDS, fail_fast=True)] | None = (
        None
    )
    model: ModelName | None = None


class Item(_Part):
    """What is asked, and what an answer is held against; `sample` is an answer that is there."""

    item: _Object
    sample: Sample | None = None


class InlineItems(_Part):
    """Items within the request."""

    type: Literal["file_content"]
    content: Annotated[list[Item], Field(min_length=1, max_length=MOST_INLINE, fail_fast=True)]


class ItemsFile(_Part):
    """A file of items, one a line."""

    type: Literal["file_id"]
    id: _FileId


class _KeptAnswers(_Part):
    """Requests that were answered and kept: those of a model, of a time, the newest ones."""

    created_after: _Second | None = None
    created_before: _Second | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS)] | None = None
    model: Annotated[ModelName, _Sought] | None = None


class StoredCompletions(_KeptAnswers):
    """Chat completions that were stored."""

    type: Literal["stored_completions"]
    metadata: MetadataFilter | None = None


class StoredResponses(_KeptAnswers):
    """Responses that were stored; those of one of `users`, that were offered one of `tools`."""

    type: Literal["responses"]
    metadata: MetadataFilter | None = None
    instructions_search: _Text | None = None
    temperature: float | None = None
    top_p: float | None = None
    users: _Names | None = None
    tools: _Names | None = None
    reasoning_effort: None = None


class Traces(_KeptAnswers):
    """Traces; `model` is a release."""

    type: Literal["traces"]


KeptAnswers = StoredCompletions | StoredResponses | Traces


class MessageTemplate(_Part):
    """Turns, in whose text `{{item...}}` stands for values."""

    type: Literal["template"]
    template: Messages


class ItemReference(_Part):
    """A field of the item that holds the messages, such as `item.input`."""

    type: Literal["item_reference"]
    item_reference: _ItemPath


class JsonlSource(_Part):
    """Items whose answers are there, or need none."""

    type: Literal["jsonl"]
    source: Annotated[InlineItems | ItemsFile, Field(discriminator="type")]


class SampledSource(_Part):
    """Items that a model answers; without `model`, kept ones are graded by the answers they have.

    Attributes:
        sampling_params: OpenAI's, see `assay.serve.eval_sampling`.
    """

    type: Literal["completions", "responses"]
    source: Annotated[InlineItems | ItemsFile | KeptAnswers, Field(discriminator="type")]
    input_messages: (
        Annotated[MessageTemplate | ItemReference, Field(discriminator="type")] | None
    ) = None
    model: ModelName | None = None
    sampling_params: _Object | None = None

    @model_validator(mode="after")
    def _whole(self) -> SampledSource:
        kept = isinstance(self.source, KeptAnswers)
        if self.model is None:
            for name in ("input_messages", "sampling_params"):
                if getattr(self, name) is not None:
                    raise ValueError(f"`{name}` needs a `model` that answers")
            if not kept:
                raise ValueError("`model` says who answers; graded without one is type 'jsonl'")
        elif self.input_messages is None and not kept:
            raise ValueError("`input_messages` says what the model is asked")
        return self


DataSource = JsonlSource | SampledSource


class RunRequest(_Part):
    """The body of `POST /v1/evals/ID/runs`."""

    data_source: Annotated[DataSource, Field(discriminator="type")]
    metadata: Metadata | None = None
    name: _Text | None = None
