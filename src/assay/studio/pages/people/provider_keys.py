"""Models elsewhere: endpoints and their keys, which can be put in and replaced but never read."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from assay.errors import ConfigError
from assay.project.settings import providers
from assay.project.settings.providers import ProviderNameError
from assay.store.secrets import SecretError
from assay.studio import widgets as w
from assay.studio.dialogs import ask_value, confirm, notify, tell_at
from assay.studio.session import PageContext, Refresh, action, workspace_action
from assay.studio.shared.promotion import allow_provider

OTHER = "Other"
KNOWN: dict[str, tuple[str, str, str]] = {
    "OpenAI": ("openai", "https://api.openai.com/v1", "openai"),
    "Anthropic": ("anthropic", "https://api.anthropic.com/v1", "anthropic"),
    "OpenRouter": ("openrouter", "https://openrouter.ai/api/v1", "openai"),
    "Mistral": ("mistral", "https://api.mistral.ai/v1", "openai"),
    OTHER: ("", "", "openai"),
}
"""Name, address and protocol of endpoints that many have."""
PRIVATE = "It runs on this machine or in our own network"
"""What allows addresses of private networks, and http."""
PROTOCOLS = {"openai": "OpenAI Chat Completions", "anthropic": "Anthropic Messages"}


@action("admin")
def list_providers(context: PageContext) -> list[dict[str, Any]]:
    """All providers; of a key only where it comes from."""
    return providers.list_providers(context.workspace.providers)


@action("admin")
def add_provider(
    context: PageContext, name: str, settings: dict[str, Any], key: str | None
) -> None:
    """Keep a provider that is not there yet, and its key."""
    given = None if key is None else lambda: key
    providers.add_provider_over_web(context.workspace, name, settings, given)


@action("admin")
def replace_provider_key(context: PageContext, name: str, key: str) -> None:
    """Put another key in the place of the kept one, or a first one."""
    context.workspace.providers.by(context.workspace.who).add(name, None, key)


@action("admin")
def remove_provider(context: PageContext, name: str) -> None:
    """Forget settings, key and consent."""
    context.workspace.providers.by(context.workspace.who).remove(name)


test_provider = workspace_action("admin", providers.try_model_over_web)


async def providers_tab(context: PageContext) -> None:
    """The table, and a form for another one."""
    shown = ui.element("div").classes("stack gap")

    async def refresh() -> None:
        found = await context.do(list_providers)
        with (
            w.refill(shown),
            w.section("Providers", "The name of a provider's model is remote:PROVIDER/MODEL."),
        ):
            if not found:
                w.text("No providers yet.", "soft")
                return
            with w.table("Name", "Address", "Key", "Consent", "", label="Providers"):
                for line in found:
                    _show_provider(context, line, refresh)

    await refresh()
    _show_form(context, refresh)


def _show_provider(context: PageContext, line: dict[str, Any], refresh: Refresh) -> None:
    name = line["name"]
    with w.cells(name, line["base_url"], line["key"]):
        with ui.element("td"):
            w.badge("given", "good") if line["consent"] else w.badge("not given")
        with w.cell("acts"):
            _show_actions(context, name, line, refresh)


def _show_actions(context: PageContext, name: str, line: dict[str, Any], refresh: Refresh) -> None:
    async def replace() -> None:
        key = await _ask_text(
            f"Replace the key of {name}", "New key", "Save", "Enter the new key.", True
        )
        if key:
            await context.do(replace_provider_key, name, key)
            notify(f"The key of {name} was saved, encrypted.")
            await refresh()

    async def test() -> None:
        model = await _ask_text(
            f"Ask {name} for one word",
            "Model name at the provider",
            "Send",
            "Enter a model name as the provider's own list has it.",
        )
        if model:
            answer = await context.do(test_provider, name, model)
            notify(f"{name} answered in {answer['seconds']:.2f} s: {answer['text']}")

    async def consent() -> None:
        why = (
            f"Comparisons may then send rows of this project to {line['base_url']}, and releases "
            "users' requests. Whoever runs it can read them."
        )
        if await confirm(f"Allow sending data to {name}?", why, "Allow"):
            await context.do(allow_provider, name)
            await refresh()

    async def forget() -> None:
        if await confirm(f"Remove {name}?", "Its key is deleted too.", "Remove"):
            await context.do(remove_provider, name)
            notify(f"{name} was removed.")
            await refresh()

    acts = [("Replace key", replace), ("Test", test)]
    if not line["consent"]:
        acts.append(("Give consent", consent))
    if line["described"] != "assay.yaml":
        acts.append(("Remove", forget))
    for label, act in acts:
        w.button(label, act, kind="link", name=f"{label}: {name}")


async def _ask_text(title: str, label: str, yes: str, missing: str, secret: bool = False) -> str:
    """A text without spaces around it; empty where the dialog was closed.

    Args:
        missing: said of an empty field.
    """

    def make() -> ui.input:
        made = ui.input(
            password=secret, validation=lambda text: None if (text or "").strip() else missing
        )
        return made.props('autocomplete="off"')

    return str(await ask_value(title, label, make, yes) or "").strip()


def in_words_of_form(error: ConfigError) -> ConfigError:
    """What is wrong with an address, in the words of the form instead of those of the settings."""
    said = error.what.removeprefix("base_url: ")
    if "private_network" in said:
        said = f"use https://, or check “{PRIVATE}”."
    return ConfigError(said.replace("is stored with `assay providers add`", "has its own field"))


def _show_form(context: PageContext, refresh: Refresh) -> None:
    with w.section(
        "Add a provider",
        "Its key is stored encrypted and never shown again, on any page or in any log.",
    ):
        with ui.element("div").classes("split"):
            which = w.field(
                "Provider", ui.select(list(KNOWN), value="OpenAI"), name="Provider to add"
            )
            name = w.field(
                "Name",
                ui.input(value=KNOWN["OpenAI"][0]),
                "Lower-case letters, digits and hyphens.",
                name="Name of the provider",
            )
            address = w.field(
                "Address",
                ui.input(value=KNOWN["OpenAI"][1]),
                "Up to and including /v1.",
                name="Address of the provider",
            )
            protocol = w.field(
                "Protocol", ui.select(PROTOCOLS, value="openai"), name="Protocol of the provider"
            )
            secret_input = ui.input(password=True).props('autocomplete="off"')
            key = w.field(
                "Key", secret_input, "Leave empty if it needs none.", name="Key of the provider"
            )
        inside = ui.checkbox(PRIVATE)

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
            secret = (key.value or "").strip() or None
            name.error = address.error = key.error = None
            if secret is None and settings["base_url"] == KNOWN[which.value][1]:
                key.error = f"{which.value} needs a key."
                return
            try:
                await context.do(add_provider, (name.value or "").strip(), settings, secret)
            except ProviderNameError as error:
                tell_at(name, error)
                return
            except ConfigError as error:
                tell_at(address, in_words_of_form(error))
                return
            except SecretError as error:
                tell_at(key, error)
                return
            key.value = ""
            notify(f"{name.value} was added.")
            await refresh()

        with w.row():
            w.button("Add provider", click, kind="primary", icon="add")
