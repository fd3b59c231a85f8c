"""LiteLLM: what its logger is given of calls of each kind, one a line."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from tests.compat.logs.provider import PARAMETERS, QUESTION, SYSTEM, provider

MODEL = "openai/gpt-4o-mini"
CLAUDE = "anthropic/claude-haiku-4-5"
ASK: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
TOOL = {"name": "find", "description": "Finds a card.", "parameters": PARAMETERS}
ANTHROPICS = {"name": "find", "description": "Finds a card.", "input_schema": PARAMETERS}
CALLED = {"type": "function_call", "call_id": "c", "name": "find", "arguments": '{"card": 3}'}
RETURNED = {"type": "function_call_output", "call_id": "c", "output": "at the bank"}
USED = {"type": "tool_use", "id": "c", "name": "find", "input": {"card": 3}}
RESULT = {"type": "tool_result", "tool_use_id": "c", "content": "at the bank"}
LEFT_OUT = ("model_map_information", "metadata", "hidden_params", "error_information")
"""Of a record: prices of the model for every purpose, and what a proxy knows of its keys."""


class Logger(CustomLogger):
    """Keeps the records; those of a call that LiteLLM tells twice, once."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, Any]] = {}

    def log_success_event(self, kwargs: Any, *_: Any, **__: Any) -> None:
        record = kwargs["standard_logging_object"]
        self.records[record["litellm_call_id"]] = record

    async def async_log_success_event(self, kwargs: Any, *_: Any, **__: Any) -> None:
        self.log_success_event(kwargs)


async def _ask(url: str) -> None:
    """One call of each kind; the last are such as cannot be used."""
    chat: dict[str, Any] = {"model": MODEL, "api_base": f"{url}/v1", "api_key": "none"}
    claude: dict[str, Any] = {"model": CLAUDE, "api_base": url, "api_key": "none"}
    user = {"role": "user", "content": QUESTION}
    await litellm.acompletion(messages=ASK, **chat)
    await litellm.acompletion(messages=ASK, tools=[{"type": "function", "function": TOOL}], **chat)
    streamed: Any = await litellm.acompletion(
        messages=ASK, stream=True, stream_options={"include_usage": True}, **chat
    )
    async for _ in streamed:
        pass
    await litellm.aresponses(input=QUESTION, instructions=SYSTEM, **chat)
    parts = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    await litellm.aresponses(input=parts, tools=[{"type": "function", **TOOL}], **chat)
    events: Any = await litellm.aresponses(input=[user, CALLED, RETURNED], stream=True, **chat)
    async for _ in events:
        pass
    told: Any = {"system": SYSTEM, "max_tokens": 20, **claude}
    used = [
        user,
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, USED]},
        {"role": "user", "content": [RESULT, {"type": "text", "text": "And now?"}]},
    ]
    await litellm.anthropic_messages(messages=[user], **told)
    await litellm.anthropic_messages(messages=used, **told)
    await litellm.anthropic_messages(messages=[user], tools=[ANTHROPICS], **told)
    await litellm.aresponses(input=QUESTION, previous_response_id="resp_0", **chat)
    blocks = {**told, "system": [{"type": "text", "text": SYSTEM}]}
    await litellm.anthropic_messages(messages=[user], **blocks)
    await asyncio.sleep(3)  # the logger runs behind
    litellm.turn_off_message_logging = True
    await litellm.acompletion(messages=ASK, **chat)
    await litellm.aresponses(input=QUESTION, instructions=SYSTEM, **chat)
    await litellm.anthropic_messages(messages=[user], **told)
    await asyncio.sleep(3)


def write(folder: Path) -> None:
    """The records, in the order of the calls."""
    logger = Logger()
    litellm.callbacks = [logger]
    with provider() as url:
        asyncio.run(_ask(url))
    records = sorted(logger.records.values(), key=lambda one: one["startTime"])
    lines = []
    for record in records:
        kept = {name: one for name, one in record.items() if name not in LEFT_OUT}
        lines.append(json.dumps({**kept, "api_base": ""}) + "\n")
    (folder / "litellm.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
