"""The client that the API is named for."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import openai
from openai import OpenAI
from pydantic import BaseModel

from tests.compat.checks import DIMENSION, EMBEDDER, MODEL, QUESTION, Checks, expect

checks = Checks("openai")
client = OpenAI(max_retries=0, timeout=300)
ASK: list[Any] = [{"role": "user", "content": QUESTION}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "Of a city.", "parameters": WEATHER},
}


class City(BaseModel):
    name: str
    is_capital: bool


@checks.add("chat")
def chat() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=12, seed=1)
    expect(bool(answer.choices[0].message.content), answer)
    expect(answer.usage is not None and answer.usage.completion_tokens > 0, answer)


@checks.add("stream")
def stream() -> None:
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=ASK, max_tokens=12, stream=True, stream_options=options
        )
    )
    expect(len(chunks) > 3 and chunks[-1].usage is not None, chunks)
    with client.chat.completions.stream(model=MODEL, messages=ASK, max_tokens=12) as events:
        kinds = {event.type for event in events}
    expect({"chunk", "content.delta", "content.done"} <= kinds, kinds)


@checks.add("tools")
def tools() -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, tools=[TOOL], tool_choice="required", max_tokens=100
    )
    calls = answer.choices[0].message.tool_calls
    expect(calls is not None and len(calls) > 0, answer)
    call: Any = calls[0]  # type: ignore[index]
    expect(json.loads(call.function.arguments)["city"] in ("Paris", "Rome"), call)
    said = answer.choices[0].message.to_dict()
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    after = client.chat.completions.create(
        model=MODEL, messages=[*ASK, said, result], tools=[TOOL], max_tokens=12
    )
    expect(after.choices[0].finish_reason in ("stop", "length", "tool_calls"), after)


@checks.add("structured output")
def structured() -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=ASK, response_format=City, max_tokens=200, temperature=0
    )
    expect(isinstance(answer.choices[0].message.parsed, City), answer)
    second = client.responses.parse(
        model=MODEL, input=QUESTION, text_format=City, max_output_tokens=200, temperature=0
    )
    expect(isinstance(second.output_parsed, City), second)


@checks.add("embeddings")
def embeddings() -> None:
    found = client.embeddings.create(model=EMBEDDER, input=["a", "b"])
    expect([len(one.embedding) for one in found.data] == [DIMENSION] * 2, found.usage)


@checks.add("token ids")
def token_ids() -> None:
    one, *two = [[15339, 1917], [9642]], "hello world", "Yes"
    found = client.embeddings.create(model=EMBEDDER, input=one)
    texts = client.embeddings.create(model=EMBEDDER, input=two)
    expect([a.embedding for a in found.data] == [a.embedding for a in texts.data], found.usage)


@checks.add("responses")
def responses() -> None:
    answer = client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=16)
    expect(bool(answer.output_text), answer)
    with client.responses.stream(model=MODEL, input=QUESTION, max_output_tokens=16) as events:
        kinds = [event.type for event in events]
    expect(kinds[0] == "response.created" and "response.output_text.delta" in kinds, kinds)


@checks.add("previous response")
def previous_response() -> None:
    limit = {"max_output_tokens": 16}
    first = client.responses.create(model=MODEL, input="My name is Ann.", store=True, **limit)  # type: ignore[call-overload]
    second = client.responses.create(  # type: ignore[call-overload]
        model=MODEL, input="And?", previous_response_id=first.id, store=True, **limit
    )
    expect(client.responses.retrieve(second.id).previous_response_id == first.id, second)
    items = list(client.responses.input_items.list(second.id))
    expect(len(items) == 3, items)
    client.responses.delete(first.id)
    client.responses.delete(second.id)


@checks.add("conversation")
def conversation() -> None:
    talk = client.conversations.create(metadata={"topic": "names"})
    client.responses.create(
        model=MODEL, input="My name is Ann.", conversation=talk.id, max_output_tokens=16
    )
    items = list(client.conversations.items.list(talk.id, order="asc"))
    expect([getattr(one, "role", None) for one in items] == ["user", "assistant"], items)
    client.conversations.items.delete(items[0].id or "", conversation_id=talk.id)
    client.conversations.delete(talk.id)


def _upload(lines: list[dict[str, Any]], purpose: Any) -> str:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return client.files.create(file=("lines.jsonl", io.BytesIO(text.encode())), purpose=purpose).id


@checks.add("files")
def files() -> None:
    id = _upload([{"a": 1}], "user_data")
    expect(client.files.content(id).text == '{"a": 1}\n', id)
    expect(id in [one.id for one in client.files.list()], id)
    client.files.delete(id)


@checks.add("batches")
def batches() -> None:
    body = {"model": MODEL, "messages": ASK, "max_tokens": 8}
    request = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    id = _upload([{"custom_id": f"q{n}", **request} for n in range(2)], "batch")
    batch = client.batches.create(
        input_file_id=id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    expect(batch.status == "completed", batch)
    lines = client.files.content(batch.output_file_id or "").text.splitlines()
    expect([json.loads(line)["custom_id"] for line in lines] == ["q0", "q1"], lines)


@checks.add("evals")
def evals() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    source: Any = {"type": "custom", "item_schema": schema, "include_sample_schema": True}
    criterion: Any = {
        "type": "string_check",
        "name": "not empty",
        "operation": "ne",
        "input": "{{ sample.output_text }}",
        "reference": "",
    }
    made = client.evals.create(
        name="compat", data_source_config=source, testing_criteria=[criterion]
    )
    asked: Any = {
        "type": "completions",
        "model": MODEL,
        "sampling_params": {"max_completion_tokens": 8},
        "input_messages": {
            "type": "template",
            "template": [{"role": "user", "content": "{{ item.q }}"}],
        },
        "source": {"type": "file_content", "content": [{"item": {"q": QUESTION}}]},
    }
    run = client.evals.runs.create(made.id, data_source=asked)
    while run.status in ("queued", "in_progress"):
        time.sleep(0.2)
        run = client.evals.runs.retrieve(run.id, eval_id=made.id)
    expect(run.status == "completed" and run.result_counts.passed == 1, run)
    items = list(client.evals.runs.output_items.list(run.id, eval_id=made.id))
    expect(len(items) == 1, items)
    client.evals.delete(made.id)


@checks.add("fine-tuning")
def fine_tuning() -> None:
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in [("Ann feeds a cat.", "CAT"), ("Ben has a dog.", "DOG")] * 6
    ]
    id = _upload(rows, "fine-tune")
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=id, method=method)
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.5)
        job = client.fine_tuning.jobs.retrieve(job.id)
    expect(job.status == "succeeded", job)
    expect(len(list(client.fine_tuning.jobs.list_events(job.id))) > 0, job)
    expect(len(list(client.fine_tuning.jobs.checkpoints.list(job.id))) > 0, job)
    name = job.fine_tuned_model or ""
    answer = client.chat.completions.create(model=name, messages=ASK, max_tokens=8)
    expect(len(answer.choices) == 1, answer)
    deleted = client.models.delete(name)
    expect(deleted.deleted and name not in [one.id for one in client.models.list()], deleted)


if __name__ == "__main__":
    expect(openai.base_url is None, openai.base_url)  # the environment names the server
    checks.run()
