"""LlamaIndex's classes for servers that speak like OpenAI's."""

from __future__ import annotations

from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike, OpenAILikeResponses
from pydantic import BaseModel

from tests.compat.checks import (
    DIMENSION,
    EMBEDDER,
    MODEL,
    QUESTION,
    Checks,
    api_key,
    base_url,
    expect,
)

checks = Checks("llama-index-llms-openai-like")
ASK = [ChatMessage(QUESTION)]
SERVER: dict[str, Any] = {"api_base": base_url(), "api_key": api_key(), "max_retries": 0}


class City(BaseModel):
    """A city."""

    name: str
    is_capital: bool


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def _model(**settings: Any) -> OpenAILike:
    kind = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 2048}
    return OpenAILike(MODEL, timeout=300, **{"max_tokens": 100, **kind, **SERVER, **settings})


def _responses(**settings: Any) -> OpenAILikeResponses:
    limits: Any = {"max_output_tokens": 40, "context_window": 2048, "timeout": 300}
    return OpenAILikeResponses(model=MODEL, **limits, **SERVER, **settings)


@checks.add("chat")
def chat() -> None:
    answer = _model().chat(ASK)
    expect(bool(answer.message.content), answer)


@checks.add("stream")
def stream() -> None:
    pieces = list(_model().stream_chat(ASK))
    expect(len(pieces) > 3, pieces)


@checks.add("tools")
def tools() -> None:
    tool = FunctionTool.from_defaults(weather)
    model = _model()
    answer = model.chat_with_tools([tool], "Weather in Paris?", tool_required=True)
    calls = model.get_tool_calls_from_response(answer)
    expect(calls[0].tool_name == "weather", calls)
    result = ChatMessage("sunny", role="tool", additional_kwargs={"tool_call_id": calls[0].tool_id})
    after = model.chat([ChatMessage("Weather in Paris?"), answer.message, result])
    expect(after.message is not None, after)


@checks.add("structured output")
def structured() -> None:
    for schema in (True, False):
        model = _model(should_use_structured_outputs=schema, max_tokens=200)
        found = model.as_structured_llm(City).chat(ASK).raw
        expect(isinstance(found, City), found)


@checks.add("embeddings")
def embeddings() -> None:
    embedder = OpenAILikeEmbedding(EMBEDDER, **SERVER)
    found = embedder.get_text_embedding_batch(["a", "b"])
    expect([len(one) for one in found] == [DIMENSION] * 2, found)


@checks.add("responses")
def responses() -> None:
    answer = _responses().chat(ASK)
    expect(bool(answer.message.content), answer)
    expect(len(list(_responses().stream_chat(ASK))) > 3, answer)


@checks.add("previous response")
def previous_response() -> None:
    model = _responses(track_previous_responses=True)
    model.chat([ChatMessage("My name is Ann.")])
    answer = model.chat([ChatMessage("And?")])
    expect(bool(answer.message.content), answer)


if __name__ == "__main__":
    checks.run()
