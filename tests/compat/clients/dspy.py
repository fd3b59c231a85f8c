"""DSPy: programs over a model, its embedder, and the training it asks for."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy
import litellm

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

checks = Checks("dspy")
SERVER: dict[str, Any] = {"api_base": base_url(), "api_key": api_key()}


AS_KNOWN = "a model that LiteLLM does not list is registered (`litellm.register_model`)"
litellm.register_model(
    {
        f"openai/{MODEL}": {
            "litellm_provider": "openai",
            "mode": "chat",
            "max_tokens": 2048,
            "supports_function_calling": True,
            "supports_response_schema": True,
        }
    }
)


class Capital(dspy.Signature):
    """Answer in short."""

    question: str = dspy.InputField()
    city: str = dspy.OutputField()
    is_capital: bool = dspy.OutputField()


class Call(dspy.Signature):
    """Call a tool."""

    question: str = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    calls: dspy.ToolCalls = dspy.OutputField()


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def _model(**settings: Any) -> dspy.LM:
    fixed = {
        "engine": "litellm",
        "max_tokens": 120,
        "cache": False,
        "num_retries": 0,
        "temperature": 0.0,
        **SERVER,
    }
    return dspy.LM(f"openai/{MODEL}", **{**fixed, **settings})


@checks.add("chat")
def chat() -> None:
    found: Any = _model()(QUESTION)
    expect(bool(found[0]), found)


@checks.add("stream")
def stream() -> None:
    async def go() -> list[Any]:
        program = dspy.streamify(dspy.Predict("question -> answer"))
        with dspy.context(lm=_model(), adapter=dspy.JSONAdapter()):
            return [piece async for piece in program(question=QUESTION)]

    pieces = asyncio.run(go())
    expect(len(pieces) > 3, pieces)


@checks.add("tools", but=AS_KNOWN)
def tools() -> None:
    adapter = dspy.ChatAdapter(use_native_function_calling=True)
    with dspy.context(lm=_model(tool_choice="required"), adapter=adapter):
        found = dspy.Predict(Call)(question="Weather in Paris?", tools=[dspy.Tool(weather)])
    expect(found.calls.tool_calls[0].name == "weather", found)


@checks.add("structured output", but=AS_KNOWN)
def structured() -> None:
    with dspy.context(lm=_model(), adapter=dspy.JSONAdapter()):
        found = dspy.Predict(Capital)(question=QUESTION)
    expect(isinstance(found.is_capital, bool), found)


@checks.add("embeddings")
def embeddings() -> None:
    found = dspy.Embedder(f"openai/{EMBEDDER}", caching=False, **SERVER)(["a", "b"])
    expect(found.shape == (2, DIMENSION), found)


@checks.add("responses")
def responses() -> None:
    found: Any = _model(model_type="responses")(QUESTION)
    expect(bool(found[0]), found)


@checks.add("fine-tuning")
def fine_tuning() -> None:
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in [("Ann feeds a cat.", "CAT"), ("Ben has a dog.", "DOG")] * 6
    ]
    from dspy.clients.openai import OpenAIProvider

    model = _model(provider=OpenAIProvider())
    dspy.settings.experimental = True
    job = model.finetune(rows, "chat", {"n_epochs": 1})
    tuned: Any = job.result(timeout=500)
    expect(isinstance(tuned, dspy.LM) and "ft:" in tuned.model, tuned)


if __name__ == "__main__":
    checks.run()
