"""Models elsewhere: endpoints and their keys, which can be put in and replaced but never read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from nicegui import ui

from assay.project.settings import providers
from assay.studio import widgets as w
from assay.studio.dialogs import ask_value, confirm, notify
from assay.studio.session import PageContext, Refresh, action, workspace_action
from assay.studio.shared.promotion import allow_provider
from assay.studio.shared.provider_form import provider_form

T = TypeVar("T")


@action("admin")
def list_providers(context: PageContext) -> list[dict[str, Any]]:
    """All providers; of a key only where it comes from."""
    return providers.list_providers(context.workspace.providers)


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
    provider_form(context, refresh)


def _show_provider(context: PageContext, line: dict[str, Any], refresh: Refresh) -> None:
    name = line["name"]
    with w.cells(name, line["base_url"], line["key"]):
        with ui.element("td"):
            w.badge("given", "good") if line["consent"] else w.badge("not given")
        with w.cell("acts"):
            _show_actions(context, name, line, refresh)


def _show_actions(context: PageContext, name: str, line: dict[str, Any], refresh: Refresh) -> None:
    async def replace() -> None:
        async def save(key: str) -> bool:
            await context.do(replace_provider_key, name, key)
            return True

        title = f"Replace the key of {name}"
        if await _ask_text(title, "New key", "Save", "Enter the new key.", save, secret=True):
            notify(f"The key of {name} was saved, encrypted.")
            await refresh()

    async def test() -> None:
        answer = await _ask_text(
            f"Ask {name} for one word",
            "Model name at the provider",
            "Send",
            "Enter a model name as the provider's own list has it.",
            lambda model: context.do(test_provider, name, model),
        )
        if answer:
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
    for label, act in acts:
        w.button(label, act, kind="link", name=f"{label}: {name}")
    if line["described"] != "assay.yaml":
        w.button("Remove", forget, kind="link danger", name=f"Remove: {name}")


async def _ask_text(
    title: str,
    label: str,
    yes: str,
    missing: str,
    act: Callable[[str], Awaitable[T]],
    *,
    secret: bool = False,
) -> T | None:
    """Do something with a text, without spaces around it; None where the dialog was closed.

    Args:
        missing: said of an empty field.
    """

    def make() -> ui.input:
        made = ui.input(
            password=secret, validation=lambda text: None if (text or "").strip() else missing
        )
        return made.props('autocomplete="off"')

    return await ask_value(title, label, make, yes, lambda text: act(text.strip()))
