"""What is done to providers from outside: added, listed, tried."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from assay.accounts.costs import most_usd
from assay.agent.answering import EngineCall
from assay.agent.key_origins import allow
from assay.agent.providers import Providers, provider_of
from assay.config import REMOTE, Provider
from assay.errors import ModelError, UsageError
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.remote.batch import RemoteBatchEngine
from assay.generate.stream import End, Sampling
from assay.project import reach
from assay.project.answer.gateway import studio_caller
from assay.project.workspace import Workspace
from assay.store import secrets

_MESSAGES, _TOKENS = (Message("user", "Say: ready"),), 16


def added(
    providers: Providers,
    name: str,
    settings: Mapping[str, Any] | None,
    key: Callable[[], str] | None,
) -> Provider:
    """Keep a provider and its key.

    Args:
        key: asked only when all else is well; None where it needs none.

    Raises:
        AssayError: as `Providers.add` says.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise UsageError(f"{name!r} is no name.", fix="Use small letters, digits and hyphens.")
    providers.checked(name, settings)
    given = None if key is None else key()
    return providers.add(name, settings, given, keyless=given is None)


def added_over_web(
    workspace: Workspace,
    name: str,
    settings: Mapping[str, Any] | None,
    key: Callable[[], str] | None,
) -> Provider:
    """The same for somebody in the studio.

    Raises:
        UsageError: the settings name a variable or file that the web may not (`reach`).
        AssayError: as `added`.
    """
    provider = workspace.providers.checked(name, settings)
    for _, why in reach.of_provider(workspace, name, provider):
        raise UsageError(why, fix="Add it at the command line.")
    return added(workspace.providers.by(workspace.who), name, settings, key)


def allowed(workspace: Workspace, name: str) -> tuple[str, list[str]]:
    """Let the variables and files that a provider (or `vllm`) names go to its present address.

    Returns:
        The address, and what may go there.

    Raises:
        ConfigError: there is no such provider.
    """
    config = workspace.config
    if name == "vllm" and config is not None and config.vllm is not None:
        provider = config.vllm.provider()
    else:
        provider = provider_of(workspace.providers, name)
    return provider.origin, allow(workspace.store, workspace.name, workspace.who, name, provider)


def listed(providers: Providers) -> list[dict[str, Any]]:
    """One line for each; of a key only where it comes from."""
    kept = secrets.kept(providers.store, providers.project)
    lines = []
    for name in sorted(providers):
        provider = providers[name]
        key = "none"
        if provider.key_env:
            key = f"variable {provider.key_env}"
        elif provider.key_file:
            key = f"file {provider.key_file}"
        elif name in kept:
            right = kept[name] == provider.origin
            key = "kept" if right else f"kept for {kept[name]}; give it again"
        lines.append(
            {
                "name": name,
                "base_url": provider.base_url,
                "protocol": provider.protocol,
                "key": key,
                "consent": providers.agreed(name),
                "described": "assay.yaml" if name in providers.described else "here",
            }
        )
    return lines


def tested_over_web(workspace: Workspace, name: str, model: str) -> dict[str, Any]:
    """The same for somebody in the studio, in whose log and under whose budget it is.

    Raises:
        BudgetError: the budget does not allow it, or the price is not known.
        ModelError: it did not answer.
    """
    reference, caller, usage = f"{REMOTE}{name}/{model}", studio_caller(workspace), workspace.usage
    reserved = None
    if caller.budgeted:
        call = EngineCall(_MESSAGES, (), Sampling(max_new_tokens=_TOKENS), reference)
        most = most_usd(workspace.providers, [[reference]], [call], 1)
        reserved = usage.reserve(caller.key_id, most)
    ends, began = [], time.perf_counter()
    try:
        reply = tested(workspace.providers, name, model)
        tokens = reply["prompt_tokens"], reply["completion_tokens"]
        ends = [End("stop", *tokens, model=reference)]
    finally:
        seconds = time.perf_counter() - began
        usage.add(
            caller.project,
            caller.key_id,
            reference,
            ends,
            seconds,
            reserved,
            is_complete=bool(ends),
        )
    return reply


def tested(providers: Providers, name: str, model: str) -> dict[str, Any]:
    """Ask a provider's model for one word.

    Raises:
        ModelError: it did not answer.
    """
    provider = provider_of(providers, name).model_copy(update={"retries": 0})
    engine = RemoteBatchEngine(name, model, provider, key=partial(providers.key, name, provider))
    began = time.perf_counter()
    [answer] = engine.answer([Request(_MESSAGES, max_new_tokens=_TOKENS)])
    engine.close()
    if not answer.succeeded:
        raise ModelError(answer.error or "no answer.")
    return {
        "text": answer.text,
        "seconds": time.perf_counter() - began,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }
