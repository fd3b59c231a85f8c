"""Keys of the API: made and shown once, with what they may do and spend; revoked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nicegui import ui

from assay.accounts import costs
from assay.accounts import keys as access
from assay.accounts.costs import Budget
from assay.accounts.keys import ApiKey
from assay.compare.report import wording
from assay.studio.dialogs import put_away, say, sure, telling
from assay.studio.session import Visit, action
from assay.studio.widgets import (
    badge,
    button,
    card,
    cells,
    code,
    field,
    heading,
    labelled,
    moment,
    named,
    row,
    table,
    text,
)

SCOPES = {
    "chat": "Ask models, agents and releases.",
    "files": "Bring files and take them back.",
    "fine_tuning": "Start and watch fine-tunings.",
    "knowledge": "Add documents and search them.",
    "releases": "Promote and roll back.",
    "traces": "Read kept requests, and correct answers.",
    "admin": "All of it.",
}
"""What a key may be good for, with what that means."""


@action("admin")
def listed(visit: Visit) -> tuple[list[ApiKey], dict[str, Budget], list[dict[str, Any]]]:
    """All keys of the project, newest first; their budgets; what they used at providers."""
    workspace = visit.workspace
    keys = access.list_keys(workspace.store, workspace.name)
    return (
        keys[::-1],
        costs.budgets(workspace.store),
        costs.usage(workspace.store, workspace.name),
    )


@action("admin")
def create(
    visit: Visit,
    name: str,
    scopes: Sequence[str],
    budget: float | None,
    labels: Sequence[str],
) -> str:
    """Make a key; its secret, which cannot be had again.

    Args:
        labels: it sees only documents with one of these; none: all of the project's.
    """
    workspace = visit.workspace
    costs.check_budget(budget)
    key, secret = access.create_key(
        workspace.store, workspace.name, name, scopes, workspace.who, labels=labels or None
    )
    if budget is not None:
        costs.set_budget(workspace.store, key.id, budget, workspace.who)
    return secret


@action("admin")
def rename(visit: Visit, id: str, name: str) -> ApiKey:
    """Say anew what a key is for."""
    workspace = visit.workspace
    return access.rename_key(workspace.store, id, name, workspace.who, workspace.name)


@action("admin")
def revoke(visit: Visit, id: str) -> ApiKey:
    """From now on a key is good for nothing."""
    return access.revoke_key(visit.workspace.store, id, visit.workspace.who)


@action("admin")
def set_budget(visit: Visit, id: str, usd: float) -> None:
    """What a key may spend at providers, in all."""
    costs.set_budget(visit.workspace.store, id, usd, visit.workspace.who)


async def api_keys(visit: Visit) -> None:
    """The table, and a form for another one."""
    fresh = ui.element("div").classes("stack gap")
    shown = ui.element("div").classes("stack gap")

    async def refresh() -> None:
        keys, budgets, used = await visit.do(listed)
        shown.clear()
        with shown:
            _table(visit, keys, budgets, refresh)
            if used:
                _usage(keys, used)

    with fresh:
        _make(visit, refresh)
    await refresh()


def _make(visit: Visit, refresh: Callable[[], Awaitable[None]]) -> None:
    with card():
        heading("New key", "For a program that calls this server as it would call OpenAI.")
        with ui.element("div").classes("split"):
            with field("What is it for?"):
                name = ui.input(placeholder="the web shop")
                named(name, "What is the key for?")
            with field("Budget in USD", "What it may spend at providers in all. Empty: no limit."):
                budget = ui.number(min=0, step=1)
                named(budget, "Budget in USD")
        with field(
            "Only documents with the labels",
            "With commas between them. Empty: all. Such a key may do chat and knowledge alone.",
        ):
            labels = ui.input()
            named(labels, "Only documents with the labels")
        text("What may it do?", "field-label", "div")
        with ui.element("div").classes("choices"):
            boxes = {}
            for scope, meaning in SCOPES.items():
                with ui.element("div"):
                    boxes[scope] = ui.checkbox(scope, value=scope == "chat")
                    text(meaning, "hint under-box", "div")
        made = ui.element("div").classes("stack")

        async def click() -> None:
            with telling():
                scopes = [scope for scope, box in boxes.items() if box.value]
                called = (name.value or "").strip() or "from the studio"
                only = [one.strip() for one in (labels.value or "").split(",") if one.strip()]
                secret = await visit.do(create, called, scopes, budget.value, only)
                made.clear()
                with made:
                    text("Copy it now: it is shown this once and kept nowhere.", "strong")
                    code(secret, "The new key")
                name.value, budget.value, labels.value = "", None, ""
                await refresh()

        with row():
            button("Make a key", click, kind="primary", icon="key")
        made.move(target_index=-1)


def _table(
    visit: Visit,
    keys: Sequence[ApiKey],
    budgets: dict[str, Budget],
    refresh: Callable[[], Awaitable[None]],
) -> None:
    with card():
        heading("Keys")
        if not keys:
            text("There is none yet.", "soft")
            return
        with table("For", "Ends in", "May", "Made", "#Spent at providers", "", label="Keys"):
            for key in keys:
                style = "past" if key.revoked else ""
                with cells(key.name, f"…{key.hint}", style=style):
                    with ui.element("td"), row("badges"):
                        for scope in key.scopes:
                            badge(scope)
                        if key.labels:
                            text(f"only {', '.join(key.labels)}", "soft note", "span")
                    text(moment(key.created), tag="td")
                    spent = _spent(budgets.get(key.id)) if key.revoked is None else ""
                    text(spent, "number", "td")
                    with ui.element("td"), row("acts"):
                        _acts(visit, key, budgets.get(key.id), refresh)


def _acts(
    visit: Visit, key: ApiKey, budget: Budget | None, refresh: Callable[[], Awaitable[None]]
) -> None:
    if key.revoked:
        badge("revoked", "bad")
        return

    async def change() -> None:
        with ui.dialog(value=True) as dialog, ui.card().classes("studio"):
            heading(f"Budget of {key.name}", "What it has spent stays spent.")
            with field("USD in all"):
                amount = ui.number(value=budget.most if budget else None, min=0)
                named(amount, "Budget in USD in all")
            with row():
                button("Keep", lambda: dialog.submit(amount.value), kind="primary")
                button("Cancel", lambda: dialog.submit(None))
        usd = await dialog
        if usd is not None:
            with telling():
                await visit.do(set_budget, key.id, usd)
                await refresh()

    async def call() -> None:
        with ui.dialog(value=True) as dialog, ui.card().classes("studio"):
            heading("What is it for?", "The key itself stays as it is.")
            with field("Name"):
                called = ui.input(value=key.name)
                named(called, "New name of the key")
            with row():
                button("Keep", lambda: dialog.submit(called.value), kind="primary")
                button("Cancel", lambda: dialog.submit(None))
        wanted = await dialog
        put_away(dialog)
        if wanted is not None:
            with telling():
                await visit.do(rename, key.id, wanted)
                await refresh()

    async def end() -> None:
        if await sure(f"Revoke {key.name}?", "Who uses it is refused from now on.", "Revoke"):
            with telling():
                await visit.do(revoke, key.id)
                say(f"{key.name} is revoked.")
                await refresh()

    other = button("Rename", call, kind="link")
    labelled(other, f"Rename {key.name}")
    limit = button("Budget", change, kind="link")
    labelled(limit, f"Budget of {key.name}")
    labelled(button("Revoke", end, kind="link danger"), f"Revoke {key.name}")


def _spent(budget: Budget | None) -> str:
    if budget is None:
        return "no limit"
    return f"{wording.usd(budget.spent)} of {budget.most:g} USD"


def _usage(keys: Sequence[ApiKey], used: Sequence[dict[str, Any]]) -> None:
    names = {key.id: key.name for key in keys}
    with card():
        heading("Used at providers", "Answers of models elsewhere, by key.")
        with table("Key", "Model", "#Answers", "#Tokens in", "#Tokens out", "#Cost", label="Usage"):
            for line in used:
                figures = (
                    f"#{line['answers']:,}",
                    f"#{line['prompt_tokens'] or 0:,}",
                    f"#{line['completion_tokens'] or 0:,}",
                    f"#{wording.usd(line['usd'])}{' and more' if line['unpriced'] else ''}",
                )
                with cells(names.get(line["key"], line["key"]), line["model"], *figures):
                    pass
