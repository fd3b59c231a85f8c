"""The body of `/v1/responses`, and how it becomes a conversation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from assay.agent.answering import GenerationOptions
from assay.chat.response_items import message_of
from assay.example import Message
from assay.jobs.metadata import Metadata
from assay.serve.conversation import (
    MOST_MESSAGES,
    MOST_TOOLS,
    MOST_TOP_LOGPROBS,
    ConversationRequest,
    Function,
    FunctionName,
    NamedFunction,
    Tokens,
)
from assay.serve.items import Item
from assay.serve.route import JsonObject, Strict

ItemId = Annotated[str, StringConstraints(max_length=100)]


class FunctionTool(Function):
    """A function that is offered, without the layer that chat puts around it."""

    type: Literal["function"]

    def to_dict(self) -> dict[str, Any]:
        """The tool in the form that chat has."""
        function = self.model_dump(exclude_none=True, exclude={"type"})
        return {"type": "function", "function": function}


class FunctionChoice(NamedFunction):
    """This function must be called."""

    type: Literal["function"]


class TextFormat(Strict):
    """`text`, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    name: FunctionName | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    description: str | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _whole(self) -> TextFormat:
        if (self.type == "json_schema") != (self.schema_ is not None):
            raise ValueError("`schema` needs type 'json_schema'")
        return self


class TextSettings(Strict):
    """How the text is to be."""

    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None


class StreamSettings(Strict):
    """Obfuscation is padding; there is none here."""

    include_obfuscation: bool | None = None


class ConversationReference(Strict):
    """A conversation, by its id."""

    id: ItemId


class ResponseRequest(ConversationRequest):
    """The body."""

    FORM = "text.format"
    input: (
        str
        | Annotated[
            list[Item],
            Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True),
        ]
    )
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None
    text: TextSettings | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=MOST_TOOLS, fail_fast=True)] | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | None = None
    stream_options: StreamSettings | None = None
    include: (
        Annotated[
            list[Literal["message.output_text.logprobs"]], Field(max_length=20, fail_fast=True)
        ]
        | None
    ) = None
    truncation: Literal["disabled"] | None = None
    background: Literal[False] | None = None
    previous_response_id: ItemId | None = None
    conversation: ItemId | ConversationReference | None = None
    metadata: Metadata | None = None
    prompt: None = None
    reasoning: None = None
    max_tool_calls: None = None
    context_management: None = None
    seed: None = None
    logit_bias: None = None
    presence_penalty: None = None
    frequency_penalty: None = None

    @property
    def conversation_id(self) -> str | None:
        """Id of the conversation that is named."""
        named = self.conversation
        return named.id if isinstance(named, ConversationReference) else named

    def to_messages(self) -> list[Message]:
        """The conversation as far as this request says it, without the instructions."""
        if isinstance(self.input, str):
            return [Message("user", self.input)]
        return [message_of(item.to_kept()) for item in self.input]

    @property
    def wants_logprobs(self) -> bool:
        """Whether log-probabilities of tokens are asked for."""
        return bool(self.include) or self.top_logprobs is not None

    def options(self) -> GenerationOptions:
        """Options of generation, see `ConversationRequest.options`."""
        schema = self.forced_schema()
        form = self.text.format if self.text is not None else None
        if self.is_call_forced():
            form = None  # it is of the answer's text, and there is none
        if form is not None and form.type != "text":
            schema = form.schema_
        return self.with_sampling(
            max_new_tokens=self.max_output_tokens,
            logprobs=(self.top_logprobs or 0) if self.wants_logprobs else None,
            schema=schema,
            json_object=form is not None and form.type == "json_object",
            tool_choice=self.forced_tool(),
        )
