"""LangChain's classes for OpenAI."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.compat.checks import DIMENSION, EMBEDDER, MODEL, QUESTION, Checks, expect

checks = Checks("langchain-openai")


class City(BaseModel):
    """A city."""

    name: str
    is_capital: bool


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def _model(**settings: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=MODEL, max_retries=0, **{"max_tokens": 60, "temperature": 0.0, **settings}
    )


@checks.add("chat")
def chat() -> None:
    answer = _model().invoke(QUESTION)
    expect(bool(answer.content) and bool(answer.usage_metadata), answer)


@checks.add("stream")
def stream() -> None:
    for responses in (False, True):
        pieces = list(_model(use_responses_api=responses).stream(QUESTION))
        expect(len(pieces) > 3, pieces)


@checks.add("tools")
def tools() -> None:
    for responses in (False, True):
        model = _model(use_responses_api=responses).bind_tools([weather], tool_choice="required")
        said = model.invoke("Weather in Paris?")
        expect(isinstance(said, AIMessage) and len(said.tool_calls) > 0, said)
        result = ToolMessage("sunny", tool_call_id=str(said.tool_calls[0]["id"]))
        asked = HumanMessage("Weather in Paris?")
        after = _model(use_responses_api=responses).invoke([asked, said, result])
        expect(isinstance(after, AIMessage), after)


@checks.add("structured output")
def structured() -> None:
    for method in ("json_schema", "function_calling"):
        found = _model(max_tokens=200).with_structured_output(City, method=method).invoke(QUESTION)
        expect(isinstance(found, City), found)


TEXTS = ["Where is my card?", "Wo ist meine Karte? \U0001f4b3"]


def _as_texts() -> list[list[float]]:
    embedder = OpenAIEmbeddings(model=EMBEDDER, check_embedding_ctx_length=False)
    return embedder.embed_documents(TEXTS)


@checks.add("embeddings")
def embeddings() -> None:
    found = _as_texts()
    expect([len(one) for one in found] == [DIMENSION] * 2, found)


@checks.add("token ids")
def token_ids() -> None:
    found = OpenAIEmbeddings(model=EMBEDDER).embed_documents(TEXTS)  # as it is, it sends ids
    expect(found == _as_texts(), found)


@checks.add("responses")
def responses() -> None:
    answer = _model(use_responses_api=True).invoke(QUESTION)
    expect(bool(answer.text), answer)


@checks.add("previous response")
def previous_response() -> None:
    model = _model(use_responses_api=True, use_previous_response_id=True, store=True)
    said: list[Any] = [HumanMessage("My name is Ann.")]
    said += [model.invoke(said), HumanMessage("And?")]
    answer = model.invoke(said)
    expect(answer.response_metadata["id"].startswith("resp_"), answer)


@checks.add("conversation")
def conversation() -> None:
    model = _model(use_responses_api=True)
    talk = model.root_client.conversations.create()
    model.invoke(QUESTION, conversation=talk.id)
    items = list(model.root_client.conversations.items.list(talk.id))
    expect(len(items) == 2, items)


if __name__ == "__main__":
    import os
    from importlib.resources import files

    tokenizers = files("litellm") / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)
    checks.run()
