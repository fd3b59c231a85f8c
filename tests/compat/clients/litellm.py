"""LiteLLM's library, told that the server is one of OpenAI's."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import litellm
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

checks = Checks("litellm")
litellm.telemetry = False
ASK: list[Any] = [{"role": "user", "content": QUESTION}]
SERVER: dict[str, Any] = {"api_base": base_url(), "api_key": api_key()}
AS_OPENAI: dict[str, Any] = {**SERVER, "custom_llm_provider": "openai"}
NAME = f"openai/{MODEL}"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class City(BaseModel):
    name: str
    is_capital: bool


def _ask(**settings: Any) -> Any:
    limits = {"max_tokens": 60, "temperature": 0.0, "num_retries": 0}
    return litellm.completion(NAME, ASK, **{**limits, **SERVER, **settings})


@checks.add("chat")
def chat() -> None:
    answer = _ask()
    expect(bool(answer.choices[0].message.content) and answer.usage.total_tokens > 0, answer)


@checks.add("stream")
def stream() -> None:
    chunks = list(_ask(stream=True, stream_options={"include_usage": True}))
    expect(len(chunks) > 3, chunks)


@checks.add("tools")
def tools() -> None:
    answer = _ask(tools=[TOOL], tool_choice="required")
    message = answer.choices[0].message
    expect("city" in json.loads(message.tool_calls[0].function.arguments), message)
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    said = [*ASK, message.model_dump(exclude_none=True), result]
    after = litellm.completion(NAME, said, tools=[TOOL], max_tokens=12, **SERVER)
    expect(len(after.choices) == 1, after)


@checks.add("structured output")
def structured() -> None:
    answer = _ask(response_format=City, max_tokens=200)
    City.model_validate_json(answer.choices[0].message.content)


@checks.add("embeddings")
def embeddings() -> None:
    found = litellm.embedding(f"openai/{EMBEDDER}", ["a", "b"], **SERVER)
    expect([len(one["embedding"]) for one in found.data] == [DIMENSION] * 2, found.usage)


@checks.add("token ids")
def token_ids() -> None:
    found = litellm.embedding(f"openai/{EMBEDDER}", [[15339, 1917]], **SERVER)
    texts = litellm.embedding(f"openai/{EMBEDDER}", ["hello world"], **SERVER)
    expect(found.data[0]["embedding"] == texts.data[0]["embedding"], found.usage)


@checks.add("responses")
def responses() -> None:
    answer: Any = litellm.responses(QUESTION, NAME, max_output_tokens=20, **SERVER)
    expect(len(answer.output) == 1, answer)
    events = list(litellm.responses(QUESTION, NAME, max_output_tokens=20, stream=True, **SERVER))
    expect(len(events) > 5, events)


@checks.add("previous response")
def previous_response() -> None:
    settings: dict[str, Any] = {"max_output_tokens": 20, "store": True, **SERVER}
    first: Any = litellm.responses("My name is Ann.", NAME, **settings)
    second: Any = litellm.responses("And?", NAME, previous_response_id=first.id, **settings)
    found: Any = litellm.get_responses(second.id, **AS_OPENAI)
    expect(found.output[0].id == second.output[0].id, found)
    litellm.delete_responses(first.id, **AS_OPENAI)


def _upload(lines: list[dict[str, Any]], purpose: Any) -> str:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    file = ("lines.jsonl", io.BytesIO(text.encode()))
    made: Any = litellm.create_file(file=file, purpose=purpose, **AS_OPENAI)
    return str(made.id)


@checks.add("files")
def files() -> None:
    id = _upload([{"a": 1}], "user_data")
    found: Any = litellm.file_content(id, **AS_OPENAI)
    expect(found.text == '{"a": 1}\n', found)
    litellm.file_delete(id, **AS_OPENAI)


@checks.add("batches")
def batches() -> None:
    body = {"model": MODEL, "messages": ASK, "max_tokens": 8}
    request = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    id = _upload([{"custom_id": "q", **request}], "batch")
    made: Any = litellm.create_batch("24h", "/v1/chat/completions", id, **AS_OPENAI)
    while made.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.2)
        made = litellm.retrieve_batch(made.id, **AS_OPENAI)
    expect(made.status == "completed" and made.request_counts.completed == 1, made)


@checks.add(
    "evals",
    but="evals and runs are created, but LiteLLM cannot read a run: its own form of one is not "
    "OpenAI's; `api_base` is without `/v1`, which it adds here",
)
def evals() -> None:
    server = {**AS_OPENAI, "api_base": base_url().removesuffix("/v1")}
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    criterion = {
        "type": "string_check",
        "name": "same",
        "operation": "eq",
        "input": "{{ item.q }}",
        "reference": "a",
    }
    made: Any = litellm.create_eval(
        {"type": "custom", "item_schema": schema}, [criterion], name="compat", **server
    )
    found: Any = litellm.get_eval(made.id, **server)
    expect(found.name == "compat", found)
    source: Any = {
        "type": "jsonl",
        "source": {"type": "file_content", "content": [{"item": {"q": "a"}}]},
    }
    run: Any = litellm.create_run(made.id, data_source=source, **server)
    expect(run.eval_id == made.id, run)


@checks.add("fine-tuning")
def fine_tuning() -> None:
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in [("Ann feeds a cat.", "CAT"), ("Ben has a dog.", "DOG")] * 6
    ]
    id = _upload(rows, "fine-tune")
    made: Any = litellm.create_fine_tuning_job(model=MODEL, training_file=id, **AS_OPENAI)
    found: Any = litellm.retrieve_fine_tuning_job(made.id, **AS_OPENAI)
    expect(found.id == made.id, found)
    ended: Any = litellm.cancel_fine_tuning_job(made.id, **AS_OPENAI)
    expect(ended.status == "cancelled", ended)


if __name__ == "__main__":
    checks.run()
