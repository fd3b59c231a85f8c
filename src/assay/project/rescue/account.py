"""An account at OpenAI, fetched into a folder: who is asked, with which key.

access = open_account("https://api.openai.com/v1", None, Path("."))
report = rescue(access, Path("from-openai"), progress)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from assay.agent.consent import check_agreed
from assay.agent.providers import Providers, provider_of
from assay.config import Provider
from assay.config.hosts import is_loopback
from assay.errors import ConfigError, OutageError, UsageError
from assay.generate.remote.outbound import read_key
from assay.progress import SILENT, Progress
from assay.project.known_providers import KNOWN_PROVIDERS
from assay.project.workspace import Workspace
from assay.rescue.account import Rescue
from assay.rescue.client import BASE_URL, Access, AccountClient
from assay.rescue.folder import opened
from assay.rescue.manifest import Manifest
from assay.rescue.report import write_report

OPENAI: str = KNOWN_PROVIDERS["openai"]["base_url"]
KEY_VARIABLE: str = KNOWN_PROVIDERS["openai"]["key_env"]
FETCHED = (
    "models; fine-tuning jobs with events and checkpoints; evals with runs and output items;",
    "stored chat completions with messages; files for fine-tuning and evals.",
)
"""What is fetched, as people are told before."""
TERMS = (
    "Only GET requests are sent: nothing is changed or deleted there and no model is asked.",
    "OpenAI does not charge for them; another server's operator may.",
)
"""What it costs, and does there."""
_HEADERS = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
"""As OpenAI's own client sends them."""
_LOOPBACK = ["127.0.0.0/8", "::1/128"]


def open_account(base_url: str | None, provider: str | None, folder: Path) -> Access:
    """The address and key of an account; nothing is sent.

    Args:
        base_url: None: OpenAI's.
        provider: a provider of the project in `folder`; None: the key in OPENAI_API_KEY.

    Raises:
        UsageError: the address is neither https nor loopback, or both are given.
        ConfigError: there is no key, or no such provider; a ConsentError where the project has not
            agreed to it.
        SecretError: the provider's key cannot be read.
    """
    if provider is None:
        described = describe(base_url or OPENAI)
        key = read_key("openai", described, f"the key of {described.origin}")
        return Access("openai", described, key)
    if base_url is not None:
        raise UsageError("--base-url cannot be used with --provider, which has an address.")
    return open_provider(Workspace(folder).providers, provider)


def open_provider(providers: Providers, provider: str) -> Access:
    """The address and key of an account that a project's provider is; nothing is sent.

    Raises:
        ConfigError, SecretError: as `open_account`.
        UsageError: it does not speak OpenAI's protocol.
    """
    found = provider_of(providers, provider)
    if found.protocol != "openai":
        raise UsageError(f"the provider {provider} does not speak OpenAI's protocol.")
    check_agreed(provider, providers)
    key = providers.key(provider, found)
    return Access(provider, found, key, f"the provider {provider}")


def rescue(
    access: Access, to: Path, progress: Progress = SILENT, *, same_account: bool = False
) -> dict[str, Any]:
    """Fetch all of an account that the folder does not hold yet; returns what report.json holds.

    Args:
        same_account: another key, organisation or project than the folder's sees the same account.

    Raises:
        UsageError: the folder holds other files, or another account.
        OutageError: the server cannot be asked any more for now; the same call goes on.
        AssayError: the address may not be spoken to, or the disk is full.
    """
    with _naming_options(), closing(AccountClient(access)) as client:
        owner = client.owner()  # before anything is written
        with opened(to) as folder:
            manifest = Manifest(folder)
            manifest.bind(owner, same_account=same_account)
            try:
                Rescue(client, manifest, progress).run()
            except OutageError as error:
                write_report(manifest, ended_early=str(error))
                raise
            return write_report(manifest)


@contextmanager
def _naming_options() -> Iterator[None]:
    """Let errors about the address of --base-url name that option: no settings describe it."""
    try:
        yield
    except ConfigError as error:
        place, _, setting = str(error.where).partition(".")
        if place != BASE_URL:
            raise
        if setting != "base_url":
            raise ConfigError(error.what, fix=error.fix) from None
        raise ConfigError(
            error.what,
            where=BASE_URL,
            fix="Use https, or loopback. An address of a private network needs a provider that "
            "lists it (private_network), and --provider.",
        ) from None


def describe(base_url: str) -> Provider:
    """The provider that has the key in OPENAI_API_KEY, at an address.

    Raises:
        UsageError: the address is neither https nor loopback.
    """
    headers = {name: f"${{{v}}}" for name, v in _HEADERS.items() if os.environ.get(v)}
    try:
        host = urlsplit(base_url).hostname or ""
        networks: bool | list[str] = _LOOPBACK if is_loopback(host) else False
        return Provider(
            base_url=base_url, key_env=KEY_VARIABLE, headers=headers, private_network=networks
        )
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
    except ValueError as error:
        reason = str(error)
    if reason.startswith("https is required"):
        reason = "https is required, except for loopback"
    raise UsageError(f"{reason}.", where=BASE_URL)
