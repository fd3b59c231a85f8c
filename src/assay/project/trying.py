"""Trying a model, agent or release as its callers would, and what to write to call it.

answer = trying.answer(workspace, engines, "support", [Message("user", "Where is my card?")])
for piece in answer: ...
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from assay.compare.prices import Needs, price
from assay.config import REMOTE, Costs
from assay.example import Message
from assay.generate.serving import ServingEngines
from assay.project.answering import Answer, Wishes, ask
from assay.project.served import Offered, offered, resolve
from assay.project.workspace import Workspace

TRIED_BY = "studio"
"""Whom a canary knows such requests by, so that one person sees one agent."""


def answer(
    workspace: Workspace,
    engines: ServingEngines,
    name: str,
    messages: Sequence[Message],
    wishes: Wishes | None = None,
) -> Answer:
    """The stream that a request to `name` would get. No trace is kept of it.

    A bare model answers greedily where nothing is wished, so that two tries can be compared.

    Raises:
        UnknownModelError: there is no such name. More as `ask`; the stream's own come with it.
    """
    wishes = wishes or Wishes()
    served = resolve(workspace, name, workspace.name, TRIED_BY)
    if served.agent is None and wishes.temperature is None:
        wishes = replace(wishes, temperature=0.0)
    asked = ask(served, messages, (), wishes, workspace.store)
    return Answer(lambda: engines.engine(served.model), asked)


def answering(workspace: Workspace) -> list[Offered]:
    """Everything that can be asked: releases first, then agents, versions, base models."""
    order = ("release", "agent", "version", "base")
    lines = [line for line in offered(workspace, workspace.name) if line.kind in order]
    return sorted(lines, key=lambda line: order.index(line.kind))


def cost_usd(workspace: Workspace, name: str, seconds: float) -> float | None:
    """What an answer costs that took a machine here so long by itself; None where unknown.

    At full load it costs less: a comparison measures that.
    """
    served = resolve(workspace, name, workspace.name, TRIED_BY)
    if served.model.startswith(REMOTE):
        return None
    costs = workspace.config.costs if workspace.config is not None else Costs()
    needs = Needs(False, False, False, 0.0, seconds)
    return price(needs, costs, 0).per_request


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
