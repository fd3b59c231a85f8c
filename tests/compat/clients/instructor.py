"""Instructor, in the modes that ask OpenAI."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import instructor
from instructor.batch import BatchProcessor
from openai import OpenAI
from pydantic import BaseModel

from tests.compat.checks import MODEL, QUESTION, Checks, expect

checks = Checks("instructor")
ASK: list[Any] = [{"role": "user", "content": QUESTION}]
WHOLE: dict[str, Any] = {"model": MODEL, "max_tokens": 200, "temperature": 0}


class City(BaseModel):
    """A city."""

    name: str
    is_capital: bool


def _client(mode: instructor.Mode) -> instructor.Instructor:
    return instructor.from_openai(OpenAI(max_retries=0, timeout=300), mode=mode)


def _ask(mode: instructor.Mode) -> None:
    found = _client(mode).create(response_model=City, messages=ASK, max_retries=0, **WHOLE)
    expect(isinstance(found, City), found)


@checks.add("chat")
def chat() -> None:
    client = _client(instructor.Mode.TOOLS)
    found: Any = client.create(response_model=None, messages=ASK, model=MODEL, max_tokens=20)
    expect(bool(found.choices[0].message.content), found)


@checks.add("stream")
def stream() -> None:
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        pieces = list(_client(mode).create_partial(response_model=City, messages=ASK, **WHOLE))
        expect(len(pieces) > 0 and pieces[-1].name is not None, pieces)


@checks.add("tools")
def tools() -> None:
    _ask(instructor.Mode.TOOLS)


@checks.add("structured output")
def structured() -> None:
    _ask(instructor.Mode.JSON_SCHEMA)


@checks.add("responses")
def responses() -> None:
    client = _client(instructor.Mode.RESPONSES_TOOLS)
    limits: dict[str, Any] = {"max_output_tokens": 200, "temperature": 0, "max_retries": 0}
    found = client.responses.create(response_model=City, input=QUESTION, model=MODEL, **limits)
    expect(isinstance(found, City), found)


@checks.add("batches")
def batches() -> None:
    batch = BatchProcessor(f"openai/{MODEL}", City)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "requests.jsonl")
        batch.create_batch_from_messages([ASK, ASK], file, max_tokens=200)
        id = batch.submit_batch(file)
    while batch.get_batch_status(id)["status"] not in ("completed", "failed", "expired"):
        time.sleep(0.2)
    found = batch.retrieve_results(id)
    expect(len(found) == 2 and all(one.success for one in found), found)


if __name__ == "__main__":
    checks.run()
