"""`sampling_params` of a run: OpenAI's fields and no others, as chat completions take them.

sampling_body("responses", {"text": {"format": {"type": "json_object"}}})
# {"response_format": {"type": "json_object"}}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from assay.serve.conversation import MOST_TOOLS, ResponseFormat, Tokens, Tool
from assay.serve.responses_request import FunctionTool, TextSettings
from assay.serve.route import Strict


class _Sampling(Strict):
    """What both kinds have; ranges are those of chat."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_completion_tokens: Tokens | None = None
    reasoning_effort: str | None = None


class ChatSampling(_Sampling):
    """Of a run of `completions`."""

    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=MOST_TOOLS, fail_fast=True)] | None = None

    def to_body(self) -> dict[str, Any]:
        """The fields of a request to chat completions."""
        return self.model_dump(by_alias=True, exclude_none=True)


class ResponsesSampling(_Sampling):
    """Of a run of `responses`, which has formats and tools in another form."""

    text: TextSettings | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=MOST_TOOLS, fail_fast=True)] | None = None

    def to_body(self) -> dict[str, Any]:
        """The fields of a request to chat completions."""
        body = self.model_dump(exclude={"text", "tools"}, exclude_none=True)
        if self.tools is not None:
            body["tools"] = [tool.to_dict() for tool in self.tools]
        form = None if self.text is None else self.text.format
        if form is not None:
            body["response_format"] = {"type": form.type}
            if form.type == "json_schema":
                schema = form.model_dump(by_alias=True, exclude={"type"}, exclude_none=True)
                body["response_format"]["json_schema"] = {"name": "answer", **schema}
        return body


def sampling_body(kind: Literal["completions", "responses"], given: Any) -> dict[str, Any]:
    """The fields of a request to chat completions that say how a run's model answers.

    Args:
        given: the run's `sampling_params`.

    Raises:
        ValidationError: a field is not one of OpenAI's.
    """
    model = ChatSampling if kind == "completions" else ResponsesSampling
    return model.model_validate(given or {}).to_body()
