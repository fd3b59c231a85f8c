"""Keys of the API: made and shown once, with what they may do and spend; revoked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nicegui import ui

from assay.accounts import costs
from assay.accounts import keys as access
from assay.accounts.costs import Budget
from assay.accounts.keys import ApiKey
from assay.accounts.scopes import BY_LABEL
from assay.compare.report import wording
from assay.errors import UsageError
from assay.knowledge.intake import LabelError
from assay.studio import widgets as w
from assay.studio.dialogs import ask_value, confirm, errors_at, notify
from assay.studio.session import PageContext, Refresh, action
from assay.studio.shared.numbers import are_valid, number_input
from assay.studio.words import format_time

SCOPES = {
    "chat": ("Chat", "Send requests to models, agents and releases."),
    "files": ("Files", "Upload, download and delete files; run batches and evals."),
    "fine_tuning": ("Fine-tuning", "Start and monitor fine-tuning jobs."),
    "knowledge": ("Knowledge", "Add documents and search them."),
    "releases": ("Releases", "Promote and roll back releases."),
    "traces": (
        "Traces",
        "Read traces (requests that are kept with their answers) and correct their answers.",
    ),
    "spans": (
        "Spans",
        "Send traces of other programs (OpenTelemetry spans) to this server; read nothing.",
    ),
    "mcp": (
        "MCP",
        "Let a program, such as a coding agent, see training rows, compare, train and propose "
        "promotions; it cannot promote.",
    ),
    "admin": ("Admin", "Everything."),
}
"""What a key may be good for: its name here, with what that means."""

_WITHOUT_AMOUNT = (
    "Enter an amount; 0: no providers. A budget can be changed, but not removed: for a key without "
    "a limit, create another one."
)


@action("admin")
def list_keys(context: PageContext) -> tuple[list[ApiKey], dict[str, Budget], list[dict[str, Any]]]:
    """All keys of the project, newest first; their budgets; what they used at providers."""
    workspace = context.workspace
    keys = access.list_keys(workspace.store, workspace.name)
    return (
        keys[::-1],
        costs.budgets(workspace.store),
        costs.usage(workspace.store, workspace.name),
    )


@action("admin")
def create_key(
    context: PageContext,
    name: str,
    scopes: Sequence[str],
    budget: float | None,
    labels: Sequence[str],
) -> tuple[ApiKey, str]:
    """Make a key; with its secret, which cannot be had again.

    Args:
        labels: it sees only documents with one of these; none: all of the project's.
    """
    workspace = context.workspace
    costs.check_budget(budget)
    key, secret = access.create_key(
        workspace.store, workspace.name, name, scopes, workspace.who, labels=labels or None
    )
    if budget is not None:
        costs.set_budget(workspace.store, key.id, budget, workspace.who)
    return key, secret


@action("admin")
def rename_key(context: PageContext, id: str, name: str) -> ApiKey:
    """Give a key another name."""
    workspace = context.workspace
    return access.rename_key(workspace.store, id, name, workspace.who, workspace.name)


@action("admin")
def revoke_key(context: PageContext, id: str) -> ApiKey:
    """Refuse a key from now on."""
    return access.revoke_key(context.workspace.store, id, context.workspace.who)


@action("admin")
def set_key_budget(context: PageContext, id: str, usd: float) -> None:
    """What a key may spend at providers, in all."""
    costs.set_budget(context.workspace.store, id, usd, context.workspace.who)


def _refuse_scopes(scopes: Sequence[str], labels: Sequence[str]) -> str:
    """Why a key cannot have these scopes; "": it can."""
    if not scopes:
        return "Choose at least one scope. Most programs need only Chat."
    if labels and (more := sorted(set(scopes) - BY_LABEL)):
        allowed = " and ".join(SCOPES[scope][0] for scope in sorted(BY_LABEL))
        return (
            f"With the scope {SCOPES[more[0]][0]} a key sees more than documents with certain "
            f"labels. Choose only {allowed}, or name no labels."
        )
    return ""


async def keys_tab(context: PageContext) -> None:
    """The table, and a form for another one."""
    fresh = ui.element("div").classes("stack gap")
    shown = ui.element("div").classes("stack gap")

    async def refresh() -> None:
        keys, budgets, used = await context.do(list_keys)
        forget_revoked(keys)
        with w.refill(shown):
            _show_table(context, keys, budgets, refresh)
            if used:
                _show_usage(keys, used)

    with fresh:
        forget_revoked = _show_form(context, refresh)
    await refresh()


def _show_form(context: PageContext, refresh: Refresh) -> Callable[[Sequence[ApiKey]], None]:
    """The form.

    Returns:
        What takes away the secret that was shown last, if its key is among those that are revoked.
    """
    last = ""
    with w.section("New key", "For a program that calls this server like the OpenAI API."):
        with ui.element("div").classes("split"):
            name = w.field("Name", ui.input(placeholder="Web shop"), name="Name of the key")
            budget = w.field(
                "Budget in USD",
                number_input(least=0, most=costs.MOST_USD),
                "The most it may spend at providers in total. Empty: no limit; 0: no providers.",
            )
        labels = w.field(
            "Only documents with these labels",
            ui.input(),
            "Separate with commas. Empty: all. With labels, only Chat and Knowledge are allowed.",
        )
        w.text("Scopes", "field-label", "div")
        with ui.element("div").classes("choices"):
            boxes = {}
            for scope, (title, meaning) in SCOPES.items():
                with ui.element("div"):
                    boxes[scope] = w.checkbox(title, scope == "chat")
                    w.text(meaning, "hint under-box", "div")
        refused = w.text("", "bad note").props("role=alert")
        made = ui.element("div").classes("stack")

        def forget_revoked(keys: Sequence[ApiKey]) -> None:
            if any(key.id == last and key.revoked is not None for key in keys):
                made.clear()

        async def click() -> None:
            nonlocal last
            scopes = [scope for scope, box in boxes.items() if box.value]
            only = [one.strip() for one in (labels.value or "").split(",") if one.strip()]
            refused.text = _refuse_scopes(scopes, only)
            if not are_valid(budget) or refused.text:
                return
            with errors_at(labels, LabelError), errors_at(name, UsageError):
                key, secret = await context.do(
                    create_key, name.value or "", scopes, budget.value, only
                )
            last = key.id
            with w.refill(made):
                w.text("Copy it now: it is shown only once and stored nowhere.", "strong")
                w.code(secret, "New API key")
            made.run_method("scrollIntoView", {"block": "center"})
            notify("The key was created. Copy it now: it is shown only once.")
            name.value, budget.value, labels.value = "", None, ""
            for scope, box in boxes.items():  # the next key is asked for its own
                box.value = scope == "chat"
            await refresh()

        with w.row():
            w.button("Create key", click, kind="primary", icon="key")
        made.move(target_index=-1)
    return forget_revoked


def _show_table(
    context: PageContext,
    keys: Sequence[ApiKey],
    budgets: dict[str, Budget],
    refresh: Refresh,
) -> None:
    with w.section("Keys"):
        if not keys:
            w.text("No keys yet.", "soft")
            return
        with w.table(
            "Name",
            "Ends in",
            "Scopes",
            "Created",
            w.Number("Budget at providers"),
            label="Keys",
        ):
            for key in keys:
                style = "past" if key.revoked else ""
                with w.cells(style=style):
                    with ui.element("td"):
                        w.text(key.name, tag="div")
                        # Not in a cell of their own, which a phone would hide at the right.
                        with w.row("acts-below"):
                            _show_actions(context, key, budgets.get(key.id), refresh)
                    w.text(f"…{key.hint}", tag="td")
                    with w.cell("badges"):
                        for scope in key.scopes:
                            w.badge(SCOPES[scope][0])
                        if key.labels:
                            w.text(f"only labels {', '.join(key.labels)}", "soft note", "span")
                    w.text(format_time(key.created), tag="td")
                    spent = _format_spent(budgets.get(key.id)) if key.revoked is None else ""
                    w.text(spent, "number", "td")


def _show_actions(
    context: PageContext,
    key: ApiKey,
    budget: Budget | None,
    refresh: Refresh,
) -> None:
    if key.revoked:
        w.badge("revoked", "bad")
        return

    async def set_budget(usd: float) -> bool:
        await context.do(set_key_budget, key.id, usd)
        return True

    async def change() -> None:
        changed = await ask_value(
            f"Budget of “{key.name}”",
            "USD in total",
            lambda: number_input(
                budget.most if budget else None,
                least=0,
                most=costs.MOST_USD,
                missing=_WITHOUT_AMOUNT,
            ),
            "Save",
            set_budget,
            under="What it has spent so far still counts.",
            name="Total budget in USD",
        )
        if changed:
            await refresh()

    async def rename() -> None:
        renamed = await ask_value(
            f"Rename “{key.name}”",
            "New name",
            lambda: ui.input(value=key.name),
            "Save",
            lambda name: context.do(rename_key, key.id, name or ""),
            under="The key itself does not change.",
            name="New name of the key",
        )
        if renamed is not None:
            await refresh()

    async def end_key() -> None:
        if await confirm(
            f"Revoke “{key.name}”?", "Requests with this key are refused from now on.", "Revoke"
        ):
            await context.do(revoke_key, key.id)
            notify(f"“{key.name}” was revoked.")
            await refresh()

    w.button("Rename", rename, kind="link", name=f"Rename {key.name}")
    w.button("Set budget", change, kind="link", name=f"Set budget of {key.name}")
    w.button("Revoke", end_key, kind="link danger", name=f"Revoke {key.name}")


def _format_spent(budget: Budget | None) -> str:
    if budget is None:
        return "no limit"
    return f"{wording.usd(budget.spent)} of {wording.usd(budget.most)}"


def format_count(tokens: int | None) -> w.Number:
    """Of tokens; what a provider does not tell is not 0."""
    return w.Number("–" if tokens is None else f"{tokens:,}")


def _show_usage(keys: Sequence[ApiKey], used: Sequence[dict[str, Any]]) -> None:
    names = {key.id: key.name for key in keys}
    with (
        w.section("Usage at providers", "Answers from providers' models, by key."),
        w.table(
            "Key",
            "Model",
            w.Number("Answers"),
            w.Number("Input tokens"),
            w.Number("Output tokens"),
            w.Number("Cost"),
            label="Usage",
        ),
    ):
        for one in used:
            figures = (
                w.Number(f"{one['answers']:,}"),
                format_count(one["prompt_tokens"]),
                format_count(one["completion_tokens"]),
                w.Number(f"{wording.usd(one['usd'])}{' plus unpriced' if one['unpriced'] else ''}"),
            )
            w.line(names.get(one["key"], one["key"]), one["model"], *figures)
