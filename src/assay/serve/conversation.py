"""Parts of a request that chat and responses have in common: messages, tools, formats, limits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from assay.agent.agent import MOST_TEMPERATURE
from assay.agent.answering import GenerationOptions
from assay.chat.tool_text import call_schema, name_of
from assay.example import Message, ToolCall
from assay.serve.errors import invalid
from assay.serve.route import JsonObject, Strict

MOST_CHOICES = 8
MOST_STOPS = 4
MOST_TOP_LOGPROBS = 20
MOST_TOOLS = 128
MOST_MESSAGES = 2048
MOST_NOTES = 10_000
"""Annotations and log-probabilities of an earlier answer, sent back by clients and not read."""
MOST_BIASES = 2048
Tokens = Annotated[int, Field(ge=1, lt=2**31)]
"""How many an answer may have; what sums and databases can hold, and more than any model writes."""
_SEEDS = 2**31
"""Engines take seeds of 32 bits and add small numbers to them."""

FunctionName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Stop = str | Annotated[list[str], Field(max_length=MOST_STOPS, fail_fast=True)] | None
Notes = Annotated[list[Any], Field(max_length=MOST_NOTES)]


class TextPart(Strict):
    """A piece of a message. Pictures, sound and files are not understood by the models here."""

    type: Literal["text", "refusal", "input_text", "output_text"]
    text: str = ""
    refusal: str = ""
    annotations: Notes | None = None
    logprobs: Notes | None = None


Content = str | Annotated[list[TextPart], Field(max_length=MOST_MESSAGES, fail_fast=True)]


def text_of(content: Content | None) -> str:
    """Parts put together as one text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text or part.refusal for part in content)


class FunctionCall(Strict):
    """What an assistant has called. The client's helpers put `parsed_arguments` beside the text."""

    name: str
    arguments: str
    parsed_arguments: Any = None


class Call(Strict):
    """A call that an assistant has made."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall
    index: int | None = None


class ChatMessage(Strict):
    """One turn. The client's helpers put `parsed` beside the content."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: Annotated[list[Call], Field(max_length=MOST_TOOLS, fail_fast=True)] | None = None
    tool_call_id: str | None = None
    annotations: Notes | None = None
    parsed: Any = None
    audio: None = None
    function_call: None = None

    @model_validator(mode="after")
    def _whole(self) -> ChatMessage:
        if self.content is None and self.role != "assistant":
            raise ValueError(f"a message of role '{self.role}' needs `content`")
        if self.content is None and not self.tool_calls and self.refusal is None:
            raise ValueError("an assistant's message needs `content` or `tool_calls`")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of role 'tool' needs `tool_call_id`")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only a message of role 'assistant' can have `tool_calls`")
        return self

    def to_message(self) -> Message:
        """As the rest of Assay has it."""
        calls = self.tool_calls or ()
        return Message(
            role=self.role,
            content=text_of(self.content) or self.refusal or "",
            tool_calls=tuple(ToolCall(c.id, c.function.name, c.function.arguments) for c in calls),
            tool_call_id=self.tool_call_id,
            name=self.name,
        )


class Function(Strict):
    """What can be called."""

    name: FunctionName
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class Tool(Strict):
    """A function that is offered to the model."""

    type: Literal["function"]
    function: Function

    def to_dict(self) -> dict[str, Any]:
        """OpenAI's form, without what was not said."""
        return self.model_dump(exclude_none=True)


class NamedFunction(Strict):
    """The name of a function."""

    name: FunctionName


class NamedTool(Strict):
    """This function must be called."""

    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class NamedSchema(Strict):
    """The form of an answer."""

    name: FunctionName
    schema_: JsonObject = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Strict):
    """`text`, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _whole(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("`json_schema` needs type 'json_schema'")
        return self


class SamplingFields(Strict):
    """What every request to a model may say."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    temperature: Annotated[float, Field(ge=0, le=MOST_TEMPERATURE)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: (
        Annotated[
            dict[str, Annotated[float, Field(ge=-100, le=100)]],
            Field(max_length=MOST_BIASES, fail_fast=True),
        ]
        | None
    ) = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: Annotated[dict[str, str], Field(max_length=64, fail_fast=True)] | None = None

    @field_validator("logit_bias")
    @classmethod
    def _token_ids(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for key in value or ():
            if not (key.isascii() and key.isdecimal() and len(key) < 10):
                raise ValueError(f"{key[:20]!r} is not a token id")
        return value

    def with_sampling(self, **rest: Any) -> GenerationOptions:
        """The options of generation: these fields, and the rest."""
        return GenerationOptions(
            temperature=self.temperature,
            # A nucleus of nothing is taken to be its first token.
            top_p=None if self.top_p is None else max(self.top_p, 1e-6),
            seed=None if self.seed is None else self.seed % _SEEDS,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias={int(key): value for key, value in (self.logit_bias or {}).items()},
            **rest,
        )


def parse_stops(stop: Stop) -> tuple[str, ...]:
    """The stop texts.

    Raises:
        ApiError: too many, or an empty one.
    """
    texts = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(texts) > MOST_STOPS or not all(texts):
        raise invalid(
            f"Invalid value for 'stop': at most {MOST_STOPS} texts, none of them empty.", "stop"
        )
    return texts


class ConversationRequest(SamplingFields, ABC):
    """What chat and responses have in common.

    Attributes:
        FORM: the field that a schema of the answer comes from.
    """

    FORM: ClassVar[str]
    tools: Any = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None

    @abstractmethod
    def to_messages(self) -> list[Message]:
        """The conversation, as the rest of Assay has it."""

    @abstractmethod
    def options(self) -> GenerationOptions:
        """What the client says about the answer.

        Raises:
            ApiError: stop texts or a tool choice that cannot be followed.
        """

    @property
    def count(self) -> int:
        """How many answers are wanted."""
        return 1

    def is_call_forced(self) -> bool:
        """Whether a tool must be called."""
        return self.tool_choice not in (None, "none", "auto")

    def offered_tools(self) -> list[dict[str, Any]]:
        """The tools that may be called, in chat's form."""
        if self.tool_choice == "none":
            return []
        return [tool.to_dict() for tool in self.tools or ()]

    def forced_tool(self) -> str | None:
        """`required`, or the name of the tool that must be called; None where none must be."""
        choice = self.tool_choice
        if isinstance(choice, NamedTool):
            return choice.function.name
        if isinstance(choice, NamedFunction):
            return choice.name
        return "required" if choice == "required" else None

    def forced_schema(self) -> dict[str, Any] | None:
        """The schema of the call that must be made; None where none must be.

        Raises:
            ApiError: a call is asked for, but there is no such tool.
        """
        forced = self.forced_tool()
        if forced is None:
            return None
        tools = self.offered_tools()
        if forced != "required" or isinstance(self.tool_choice, (NamedTool, NamedFunction)):
            tools = [tool for tool in tools if name_of(tool) == forced]
        if not tools:
            raise invalid("'tool_choice' names a tool that is not in 'tools'.", "tool_choice")
        return call_schema(tools)
