"""Pydantic AI: agents over chat completions and responses, and its embedder."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, Embedder, NativeOutput, ToolOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.settings import ModelSettings

from tests.compat.checks import DIMENSION, EMBEDDER, MODEL, QUESTION, Checks, expect

checks = Checks("pydantic-ai-slim")
SHORT = ModelSettings(max_tokens=80)
WHOLE = ModelSettings(max_tokens=200, temperature=0)


class City(BaseModel):
    name: str
    is_capital: bool


def _models() -> list[Any]:
    return [OpenAIChatModel(MODEL), OpenAIResponsesModel(MODEL)]


@checks.add("chat")
def chat() -> None:
    done = Agent(_models()[0], instructions="Be brief.").run_sync(QUESTION, model_settings=SHORT)
    expect(bool(done.output) and done.usage.output_tokens > 0, done)


@checks.add("stream")
def stream() -> None:
    for model in _models():
        with Agent(model).run_stream_sync(QUESTION, model_settings=SHORT) as done:
            pieces = list(done.stream_text(delta=True, debounce_by=None))
        expect(len(pieces) > 2, pieces)


@checks.add("tools")
def tools() -> None:
    for model in _models():
        agent = Agent(model, output_type=ToolOutput(City))

        @agent.tool_plain
        def weather(city: str) -> str:
            """Tell the weather of a city."""
            return f"sunny in {city}"

        done = agent.run_sync(f"{QUESTION} Call final_result.", model_settings=WHOLE)
        calls = [p for m in done.new_messages() for p in m.parts if isinstance(p, ToolCallPart)]
        expect(isinstance(done.output, City) and len(calls) > 0, done)


@checks.add("structured output")
def structured() -> None:
    for model in _models():
        done = Agent(model, output_type=NativeOutput(City)).run_sync(QUESTION, model_settings=WHOLE)
        expect(isinstance(done.output, City), done)


@checks.add("embeddings")
def embeddings() -> None:
    embedder = Embedder(OpenAIEmbeddingModel(EMBEDDER))
    found = embedder.embed_documents_sync(["a", "b"])
    expect([len(one) for one in found.embeddings] == [DIMENSION] * 2, found.usage)


@checks.add("responses")
def responses() -> None:
    done = Agent(_models()[1], instructions="Be brief.").run_sync(QUESTION, model_settings=SHORT)
    expect(bool(done.output), done)


@checks.add("previous response")
def previous_response() -> None:
    agent = Agent(_models()[1])
    keep: Any = {"openai_store": True, "max_tokens": 30}
    first = agent.run_sync("My name is Ann.", model_settings=keep)
    id = first.new_messages()[-1].provider_response_id  # type: ignore[union-attr]
    agent.run_sync("And?", model_settings={**keep, "openai_previous_response_id": id})
    goes_on: Any = {**keep, "openai_previous_response_id": "auto"}
    agent.run_sync("And?", message_history=first.all_messages(), model_settings=goes_on)


@checks.add("conversation")
def conversation() -> None:
    model = _models()[1]
    from openai import OpenAI

    with OpenAI() as client:
        talk = client.conversations.create()
        settings: Any = {"openai_conversation_id": talk.id, "max_tokens": 30}
        Agent(model).run_sync(QUESTION, model_settings=settings)
        items = list(client.conversations.items.list(talk.id))
        client.conversations.delete(talk.id)
    expect(len(items) == 2, items)


if __name__ == "__main__":
    checks.run()
