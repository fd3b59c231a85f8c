"""Trying a model, agent or release as its callers would, and what to write to call it.

answer = playground.answer(workspace, engines, "support", [Message("user", "Where is my card?")])
for piece in answer: ...
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from assay.accounts.costs import calls_of
from assay.agent.answering import GenerationOptions
from assay.data.split import TRAIN, has_split
from assay.example import Example, Message, read_examples
from assay.generate.stream import End, EnginePool
from assay.project.answer.answering import AnswerStream, Conversation
from assay.project.answer.gateway import Gateway, studio_caller
from assay.project.answer.names import ModelEntry, model_entries
from assay.project.comparisons import labels
from assay.project.workspace import Workspace

ROWS_OF_A_KIND = 200
"""So many training rows tell whether a project's examples are conversations."""


def answer(
    workspace: Workspace,
    engines: EnginePool,
    name: str,
    messages: Sequence[Message],
    options: GenerationOptions | None = None,
    tools: Sequence[dict[str, Any]] = (),
) -> AnswerStream:
    """The stream that a request to `name` would get. No trace is kept of it.

    A bare model answers greedily where no temperature is given, so that two tries can be compared.

    Args:
        tools: that may be called, in OpenAI's form.

    Raises:
        UnknownModelError: there is no such name. More as `Gateway.open`; the stream's own come with
            it.
    """
    options = options or GenerationOptions()
    gateway, caller = Gateway(workspace, engines), studio_caller(workspace)
    target = gateway.resolve(caller, name)
    if target.agent is None and options.temperature is None:
        options = replace(options, temperature=0.0)
    return gateway.open(caller, target, Conversation(messages, tools), options).streams()[0]


def offered_tools(workspace: Workspace) -> tuple[dict[str, Any], ...]:
    """The tools of the project's first training row; none where its task is another, before its
    rows are divided, or where they cannot be read: releases can be tried without them."""
    project = workspace.project
    if project is None or project.config.task != "tools":
        return ()
    return next((row.tools for row in _read_first(workspace, 1)), ())


def is_conversation(workspace: Workspace) -> bool:
    """Whether the project's examples are conversations, in which an answer depends on earlier
    messages; by its first training rows. Where these have one message of the user's each, only a
    message by itself is like what was measured. True where it is not known.
    """
    rows = _read_first(workspace, ROWS_OF_A_KIND)
    return not rows or any(
        sum(message.role == "user" for message in row.messages) > 1 for row in rows
    )


def _read_first(workspace: Workspace, count: int) -> list[Example]:
    """Of the training rows so many at most; none before they are divided, or where they cannot be
    read."""
    project = workspace.project
    if project is None or not has_split(project.split_folder):
        return []
    try:
        return list(islice(read_examples(project.split_folder / TRAIN), count))
    except (OSError, ValueError):
        return []


def answerable_models(workspace: Workspace) -> list[ModelEntry]:
    """Everything that can be asked: releases first, then agents, versions, base models."""
    order = ("release", "agent", "version", "base")
    lines = [line for line in model_entries(workspace, workspace.name) if line.kind in order]
    return sorted(lines, key=lambda line: order.index(line.kind))


@dataclass(frozen=True, slots=True)
class AnswerDetails:
    """How an answer came about.

    Attributes:
        usd: None where unknown.
        route: `NAME@VERSION` of those that were asked, the one that answered last; empty where
            nothing chose.
        passages: of documents, as they stood before the question.
    """

    usd: float | None
    route: tuple[str, ...]
    passages: str


def answer_details(
    workspace: Workspace, answer: AnswerStream, end: End, seconds: float
) -> AnswerDetails:
    """How an answer that has ended came about.

    Args:
        seconds: from the question to the end.
    """
    known = labels(workspace, end.agents)
    route = tuple(known.get(id, id[:12]) for id in end.agents)
    return AnswerDetails(workspace.cost_usd(calls_of(end), seconds), route, answer.passages)


def snippets(address: str, name: str, key: str) -> dict[str, str]:
    """How to call a release from elsewhere, by tool.

    Args:
        address: of the server, such as `http://127.0.0.1:8000`.
        key: an API key, or what stands for one.
    """
    body = {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
    curl = (
        f"curl {address}/v1/chat/completions \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{json.dumps(body)}'"
    )
    python = (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{address}/v1", api_key="{key}")\n'
        "answer = client.chat.completions.create(\n"
        f'    model="{name}", messages=[{{"role": "user", "content": "Hello"}}]\n'
        ")\n"
        "print(answer.choices[0].message.content)"
    )
    provider = {
        "baseUrl": f"{address}/v1",
        "apiKey": key,
        "api": "openai-completions",
        "models": [{"id": name, "name": name}],
    }
    openclaw = {
        "models": {"mode": "merge", "providers": {"assay": provider}},
        "agents": {"defaults": {"model": {"primary": f"assay/{name}"}}},
    }
    return {"curl": curl, "Python": python, "OpenClaw": json.dumps(openclaw, indent=2)}
