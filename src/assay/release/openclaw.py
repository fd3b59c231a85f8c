"""A release as OpenClaw uses it: a custom provider, and a workspace that holds the prompt.

OpenClaw speaks to the release over `/v1/chat/completions` and brings a system prompt of its own,
made of the files of its workspace. A client's system prompt takes the place of the agent's, so the
agent's is written into the workspace (`AGENTS.md`); shown examples and passages are put in by
Assay as for every client. Field names and limits are those of OpenClaw's configuration reference
(https://docs.openclaw.ai/gateway/configuration-reference, `models.providers` and
`agents.defaults`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.agent.agent import Agent
from assay.config import is_remote
from assay.errors import ModelError
from assay.generate.constrained import LONGEST_SCHEMA

PROVIDER = "assay"
KEY_VARIABLE = "ASSAY_API_KEY"
CONFIG = "openclaw.json"
WORKSPACE = "workspace"
PROMPT_FILE = "AGENTS.md"
FILE_CHARACTERS = 20_000
"""OpenClaw's `bootstrapMaxChars`: what is longer is cut."""
ALL_CHARACTERS = 60_000
"""OpenClaw's `bootstrapTotalMaxChars`."""
LEAST_CONTEXT = 16_000
"""Tokens; OpenClaw starts no agent on a model with less."""


@dataclass(frozen=True, slots=True)
class OpenClaw:
    """What is written for OpenClaw.

    Attributes:
        config: of `openclaw.json`.
        files: of the workspace, by name.
        warnings: what will not be as it was measured.
    """

    config: dict[str, Any]
    files: dict[str, str]
    warnings: tuple[str, ...]


def openclaw(
    release: str, agent: Agent, *, base_url: str, context: int | None, workspace: Path
) -> OpenClaw:
    """Provider and workspace for a release.

    Args:
        base_url: of the server, up to and with /v1.
        context: tokens that the model can read; None: not known.
        workspace: where its files will be, absolute.

    Raises:
        ModelError: the agent is no language model.
    """
    if agent.kind != "chat":
        raise ModelError(
            f"{release} is a {agent.kind} agent; OpenClaw needs a language model.",
            fix="Promote an agent with a language model.",
        )
    model: dict[str, Any] = {
        "id": release,
        "name": f"{release} (Assay)",
        "reasoning": False,
        "input": ["text"],
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        **({} if context is None else {"contextWindow": context}),
        "maxTokens": agent.max_new_tokens,
        "compat": {"supportsUsageInStreaming": True},
    }
    config = {
        "models": {
            "mode": "merge",
            "providers": {
                PROVIDER: {
                    "baseUrl": base_url,
                    "apiKey": f"${{{KEY_VARIABLE}}}",
                    "api": "openai-completions",
                    "models": [model],
                }
            },
        },
        "agents": {
            "defaults": {
                "workspace": str(workspace),
                "model": {"primary": f"{PROVIDER}/{release}"},
            }
        },
    }
    prompt = agent.prompt.strip()
    files = {PROMPT_FILE: f"{prompt}\n" if prompt else ""}
    return OpenClaw(config, files, tuple(_warnings(agent, files, context)))


def _warnings(agent: Agent, files: dict[str, str], context: int | None) -> list[str]:
    found = [
        f"{name} has {len(text):,} characters; OpenClaw cuts a file at {FILE_CHARACTERS:,} "
        "(agents.defaults.bootstrapMaxChars)."
        for name, text in files.items()
        if len(text) > FILE_CHARACTERS
    ]
    if (total := sum(map(len, files.values()))) > ALL_CHARACTERS:
        found.append(
            f"The workspace has {total:,} characters; OpenClaw reads {ALL_CHARACTERS:,} in total "
            "(agents.defaults.bootstrapTotalMaxChars)."
        )
    if context is None:
        found.append(
            "The context length of the model is not known; contextWindow is left out, and "
            "OpenClaw uses its own default."
        )
    elif context < LEAST_CONTEXT:
        found.append(
            f"The context length of the model is {context:,} tokens; OpenClaw needs at least "
            f"{LEAST_CONTEXT:,}."
        )
    if agent.constrained and (agent.output_schema is not None or agent.choices is not None):
        found.append(
            "Answers are constrained to a schema or a list, so they cannot call OpenClaw's tools."
        )
    elif agent.constrained:
        found.append(
            "Calls are held to the tools that a request brings. OpenClaw's may be too long for "
            f"that ({LONGEST_SCHEMA:,} characters), and no answer can have both words and a call: "
            "save the agent with `constrained: false` for OpenClaw."
        )
    what = "the provider's price" if is_remote(agent.model) else "this machine's hours"
    found.append(f"OpenClaw needs a cost, which is written as 0 a token; the real cost is {what}.")
    return found
