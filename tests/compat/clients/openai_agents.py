"""OpenAI's SDK for agents, over responses (its default) and chat completions."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.compat.checks import MODEL, QUESTION, Checks, expect

checks = Checks("openai-agents")
set_tracing_disabled(True)


class City(BaseModel):
    name: str
    is_capital: bool


@function_tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def _agent(chat: bool = False, choice: str | None = None, **settings: Any) -> Agent[Any]:
    client = AsyncOpenAI(max_retries=0, timeout=300)
    model = (OpenAIChatCompletionsModel if chat else OpenAIResponsesModel)(MODEL, client)
    ends = ModelSettings(max_tokens=600, temperature=0.0, tool_choice=choice)
    return Agent(
        name="Guide", instructions="Be brief.", model=model, model_settings=ends, **settings
    )


def _calls(items: list[Any]) -> list[str]:
    return [item.type for item in items]


@checks.add("chat")
def chat() -> None:
    done = Runner.run_sync(_agent(chat=True), QUESTION)
    expect(bool(done.final_output), done)


@checks.add("stream")
def stream() -> None:
    async def go(chat: bool) -> set[str]:
        done = Runner.run_streamed(_agent(chat), QUESTION)
        return {
            getattr(event.data, "type", "") if event.type == "raw_response_event" else event.type
            async for event in done.stream_events()
        }

    for chat in (True, False):
        kinds = asyncio.run(go(chat))
        expect({"response.output_text.delta", "response.completed"} <= kinds, kinds)


@checks.add("tools")
def tools() -> None:
    for chat in (True, False):
        done = Runner.run_sync(_agent(chat, "required", tools=[weather]), "Weather in Paris?")
        kinds = _calls(done.new_items)
        expect(kinds[:2] == ["tool_call_item", "tool_call_output_item"], kinds)


@checks.add("structured output")
def structured() -> None:
    for chat in (True, False):
        done = Runner.run_sync(_agent(chat, output_type=City), QUESTION)
        expect(isinstance(done.final_output, City), done)


@checks.add("responses")
def responses() -> None:
    done = Runner.run_sync(_agent(), QUESTION)
    expect(bool(done.final_output), done)


@checks.add("previous response")
def previous_response() -> None:
    agent = _agent()
    agent.model_settings.store = True
    first = Runner.run_sync(agent, "My name is Ann.")
    second = Runner.run_sync(agent, "And?", previous_response_id=first.last_response_id)
    expect(second.last_response_id != first.last_response_id, second)
    agent = _agent(choice="required", tools=[weather])
    agent.model_settings.store = True
    done = Runner.run_sync(agent, "Weather in Paris?", auto_previous_response_id=True)
    expect(bool(done.final_output), done)


@checks.add("conversation")
def conversation() -> None:
    client = AsyncOpenAI(max_retries=0, timeout=300)

    async def go() -> list[Any]:
        session = OpenAIConversationsSession(openai_client=client)
        await Runner.run(_agent(), "My name is Ann.", session=session)
        await Runner.run(_agent(), "And?", session=session)
        items = await session.get_items()
        await session.clear_session()
        talk = await client.conversations.create()
        await Runner.run(_agent(), QUESTION, conversation_id=talk.id)
        return [*items, *(await client.conversations.items.list(talk.id)).data]

    items = asyncio.run(go())
    expect(len(items) == 6, items)


if __name__ == "__main__":
    checks.run()
