"""A form for a provider and its key, which is kept encrypted and never shown again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from assay.errors import AssayError, ConfigError, UsageError
from assay.project.known_providers import KNOWN_PROVIDERS
from assay.project.settings import providers
from assay.project.settings.providers import ProviderNameError
from assay.store.secrets import SecretError
from assay.studio import widgets as w
from assay.studio.dialogs import errors_at, notify
from assay.studio.session import PageContext, Refresh, action

OTHER = "Other"


def _known(name: str) -> tuple[str, str, str]:
    settings = KNOWN_PROVIDERS[name]
    return name, settings["base_url"], settings.get("protocol", "openai")


KNOWN: dict[str, tuple[str, str, str]] = {
    "OpenAI": _known("openai"),
    "Anthropic": _known("anthropic"),
    "OpenRouter": _known("openrouter"),
    "Mistral": _known("mistral"),
    OTHER: ("", "", "openai"),
}
"""Name, address and protocol of endpoints that many have."""
PRIVATE = "It runs on this machine or in our own network"
"""What allows addresses of private networks, and http."""
BATCHES: dict[str, tuple[str, bool | None]] = {
    "auto": ("API batches, if it is OpenAI or Anthropic", None),
    "always": ("API batches, comparisons and evals", True),
    "never": ("Nothing", False),
}
"""What its batches are used for, and `batch` that says so."""
PROTOCOLS = {"openai": "OpenAI Chat Completions", "anthropic": "Anthropic Messages"}


@action("admin")
def add_provider(
    context: PageContext, name: str, settings: dict[str, Any], key: str | None
) -> None:
    """Keep a provider that is not there yet, and its key."""
    given = None if key is None else lambda: key
    providers.add_provider_over_web(context.workspace, name, settings, given)


def in_words_of_form(error: AssayError) -> str:
    """What is wrong with an address, in the words of the form instead of those of the settings."""
    said = f"{error.what} {error.fix or ''}".strip().removeprefix("base_url: ")
    if "private_network" in said:
        said = f"use https://, or check “{PRIVATE}”."
    return said.replace("is stored with `assay providers add`", "has its own field")


def provider_form(
    context: PageContext,
    refresh: Refresh,
    only: Sequence[str] = tuple(KNOWN),
    *,
    needs_key: bool = False,
) -> None:
    """The form; `refresh` is called once a provider was added.

    Args:
        only: of `KNOWN`, those that can be chosen, with their protocols; the first is at first.
        needs_key: without a key nothing can be done with it.
    """
    protocols = {KNOWN[one][2]: PROTOCOLS[KNOWN[one][2]] for one in only}
    with w.section(
        "Add a provider",
        "Its key is stored encrypted and never shown again, on any page or in any log.",
    ):
        with ui.element("div").classes("split"):
            which = w.field(
                "Provider", ui.select(list(only), value=only[0]), name="Provider to add"
            )
            name = w.field(
                "Name",
                ui.input(value=KNOWN[only[0]][0]),
                "Lower-case letters, digits and hyphens.",
                name="Name of the provider",
            )
            address = w.field(
                "Address",
                ui.input(value=KNOWN[only[0]][1]),
                "Up to and including /v1.",
                name="Address of the provider",
            )
            protocol = w.field(
                "Protocol", ui.select(protocols, value="openai"), name="Protocol of the provider"
            )
            secret_input = ui.input(password=True).props('autocomplete="off"')
            key = w.field(
                "Key",
                secret_input,
                "" if needs_key else "Leave empty if it needs none.",
                name="Key of the provider",
            )
            batched = w.field(
                "Use its batches for",
                ui.select({key: said for key, (said, _) in BATCHES.items()}, value="auto"),
                "Half the price, and answers within a day.",
                name="Use the provider's batches for",
            )
        inside = w.checkbox(PRIVATE)

        def chosen() -> None:
            name.value, address.value, protocol.value = KNOWN[which.value]

        which.on_value_change(chosen)

        async def click() -> None:
            settings: dict[str, Any] = {
                "base_url": (address.value or "").strip(),
                "protocol": protocol.value,
            }
            if inside.value:
                settings["private_network"] = True
            if (batch := BATCHES[batched.value][1]) is not None:
                settings["batch"] = batch
            secret = (key.value or "").strip() or None
            name.error = address.error = key.error = None
            if secret is None and (needs_key or settings["base_url"] == KNOWN[which.value][1]):
                whose = "The provider" if which.value == OTHER else which.value
                key.error = f"{whose} needs a key."
                return
            with (
                errors_at(key, SecretError),
                errors_at(address, ConfigError, UsageError, say=in_words_of_form),
                errors_at(name, ProviderNameError),
            ):
                await context.do(add_provider, (name.value or "").strip(), settings, secret)
            key.value = ""
            notify(f"{name.value} was added.")
            await refresh()

        with w.row():
            w.button("Add provider", click, kind="primary", icon="add")
