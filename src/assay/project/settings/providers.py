"""What is done to providers from outside: added, listed, tried."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from assay.agent.answering import GenerationOptions, Target
from assay.agent.key_origins import allow
from assay.agent.providers import Providers, provider_of
from assay.config import REMOTE, Provider, split_reference
from assay.config.names import names_in
from assay.errors import ConfigError, ModelError, UsageError
from assay.example import Message
from assay.generate.remote.outbound import read_key
from assay.generate.remote.stream import RemoteStreamEngine
from assay.generate.stream import End, Piece, Sampling, StreamEngine
from assay.project import reach
from assay.project.answer.answering import Conversation, Item
from assay.project.answer.gateway import Gateway, studio_caller
from assay.project.workspace import Workspace
from assay.store import secrets

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MESSAGES, _TOKENS = (Message("user", "Say: ready"),), 16


class ProviderNameError(UsageError):
    """No provider can be called so."""


class ProviderExistsError(ProviderNameError):
    """A provider of this name would be replaced, with its key."""


def add_provider(
    providers: Providers,
    name: str,
    settings: Mapping[str, Any] | None,
    key: Callable[[], str] | None,
) -> Provider:
    """Keep a provider and its key.

    Args:
        key: asked only when all else is well; None where it needs none.

    Raises:
        ProviderNameError: it cannot be called so.
        AssayError: as `Providers.add` says.
    """
    _check_name(name)
    providers.check(name, settings)
    given = None if key is None else key()
    return providers.add(name, settings, given, keyless=given is None)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ProviderNameError(
            f"{name!r} is not a valid name for a provider." if name else "the name is missing.",
            fix="Use up to 63 lowercase letters, digits and hyphens, such as openai.",
        )


def add_provider_over_web(
    workspace: Workspace,
    name: str,
    settings: Mapping[str, Any] | None,
    key: Callable[[], str] | None,
) -> Provider:
    """The same for somebody in the studio, where nothing that is there is replaced.

    Raises:
        ProviderNameError: it cannot be called so, or (`ProviderExistsError`) there is one.
        UsageError: the settings name a variable or file that the web may not (`reach`).
        AssayError: as `add_provider`.
    """
    if name in workspace.providers:
        raise ProviderExistsError(
            f"there is a provider {name} already.",
            fix="Replace its key or remove it in the table above, or use another name.",
        )
    _check_name(name)
    provider = workspace.providers.check(name, settings)
    for _, why in reach.of_provider(workspace, name, provider):
        raise UsageError(why, fix="Add it at the command line.")
    return add_provider(workspace.providers.by(workspace.who), name, settings, key)


def allow_address(workspace: Workspace, name: str) -> tuple[str, list[str]]:
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


def list_providers(providers: Providers) -> list[dict[str, Any]]:
    """One line for each; of a key only where it comes from."""
    kept = secrets.list_origins(providers.store, providers.project)
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
                "consent": providers.has_consent(name),
                "described": "assay.yaml" if name in providers.from_config else "here",
            }
        )
    return lines


def has_key(providers: Providers, name: str) -> bool:
    """Whether there is a key for a provider, good for its address. It goes nowhere."""
    provider = providers[name]
    try:
        if read_key(name, provider) is not None:
            return True
    except ConfigError:  # the variable or file that is named holds none
        return False
    headers = (one for one in names_in(provider) if one.setting.startswith("headers."))
    if any(os.environ.get(variable) for one in headers for variable in one.variables):
        return True
    kept = secrets.list_origins(providers.store, providers.project)
    return kept.get(name) == provider.origin


class _ProviderPool:
    """`EnginePool` of the models at providers, agreed to or not, which are asked once."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def engine(self, model: str) -> StreamEngine:
        """An engine that nobody keeps: its settings may be about to change."""
        name, at = split_reference(model)
        provider = provider_of(self._providers, name)
        key = partial(self._providers.key, name, provider)
        return RemoteStreamEngine(name, at, provider, key=key, retries=0)

    def close(self) -> None:
        """There is nothing that it holds."""


def try_model(providers: Providers, name: str, model: str) -> dict[str, Any]:
    """Ask a provider's model for one word; nothing of the project goes there.

    Raises:
        ModelError: it did not answer.
    """
    engine = _ProviderPool(providers).engine(f"{REMOTE}{name}/{model}")
    return _read(engine.chat(_MESSAGES, (), Sampling(max_new_tokens=_TOKENS)))


def try_model_over_web(workspace: Workspace, name: str, model: str) -> dict[str, Any]:
    """The same for somebody in the studio, in whose log and under whose budget it is.

    Raises:
        BudgetError: the budget does not allow it, or the price is not known.
        ModelError: it did not answer.
    """
    reference = f"{REMOTE}{name}/{model}"
    gateway = Gateway(workspace, _ProviderPool(workspace.providers))
    target, conversation = Target(reference, reference), Conversation(_MESSAGES)
    options = GenerationOptions(max_new_tokens=_TOKENS, temperature=0.0)
    answering = gateway.open(studio_caller(workspace), target, conversation, options)
    return _read(answering.streams()[0])


def _read(items: Iterable[Item]) -> dict[str, Any]:
    started_at, text, end = time.perf_counter(), "", None
    for item in items:
        if isinstance(item, Piece):
            text += item.text
        elif isinstance(item, End):
            end = item
    if end is None:
        raise ModelError("the answer ended early.")
    return {
        "text": text,
        "seconds": time.perf_counter() - started_at,
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.completion_tokens,
    }
