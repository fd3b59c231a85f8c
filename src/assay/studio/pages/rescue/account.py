"""The account: what is fetched and what it costs, consent, and what could not be had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nicegui import ui

from assay.errors import Step
from assay.project.jobs import rescue
from assay.project.jobs.rescue import FETCH, SHOWN, RescueState
from assay.project.rescue.account import FETCHED, TERMS
from assay.project.rescue.uploads import ACCOUNT
from assay.rescue.report import LABELS, count_missing
from assay.studio import widgets as w
from assay.studio.dialogs import add_choices, errors_at, open_dialog, read_choice
from assay.studio.session import PageContext, workspace_action
from assay.studio.shared.promotion import allow_provider
from assay.studio.words import format_size

start_fetching = workspace_action("admin", rescue.fetch)


def account_card(
    context: PageContext,
    accounts: Sequence[dict[str, Any]],
    state: RescueState,
    reload: Callable[[], None],
) -> None:
    """What is fetched, and the button that asks before it does."""
    with w.section(
        "2. Fetch the account", f"It is written to {ACCOUNT} in the folder that is served here."
    ):
        for line in (f"What is fetched: {' '.join(FETCHED)}", *TERMS):
            w.text(line)
        w.text(f"{ACCOUNT} will hold your users' data; only the user that runs this server can "
               "read it.", "soft note")  # fmt: skip
        which = account_choice(accounts, state)
        same = w.checkbox("It is the same account, whose key was renewed")
        failed = state.job.error if state.job is not None else None
        same.set_visibility(str(Step.SAME_ACCOUNT) in (failed or ""))

        async def fetch() -> None:
            chosen = next(one for one in accounts if one["name"] == which.value)
            if not await ask_to_send(context, chosen, "Fetch the account?", (
                "The key goes to this address alone, and is not shown. Nothing is changed there, "
                "and no model is asked.",
            ), "Fetch"):  # fmt: skip
                return
            with errors_at(which):
                await context.do(start_fetching, which.value, same_account=bool(same.value))
            reload()

        with w.row():
            made = w.button("Fetch", fetch, kind="primary", icon="download")
            made.set_enabled(state.active_kind != FETCH)
            if state.is_begun:
                w.text("Only what is missing is fetched.", "soft note")


def account_choice(accounts: Sequence[dict[str, Any]], state: RescueState) -> ui.select:
    """The key that is used: at first one for the address that was fetched from."""
    names = {one["name"]: f"{one['name']} ({one['base_url']})" for one in accounts}
    address = state.report["account"]["base_url"] if state.report is not None else None

    def rank(one: dict[str, Any]) -> tuple[bool, bool]:
        return one["base_url"] != address, one["name"] != "openai"

    first = min(accounts, key=rank)["name"]
    return w.field("Key", ui.select(names, value=first), name="Key of the account")


async def ask_to_send(
    context: PageContext, account: dict[str, Any], question: str, lines: Sequence[str], yes: str
) -> bool:
    """Ask before anything goes to an address; a yes is kept as the provider's consent."""
    with open_dialog(question, f"Address: {account['base_url']}") as dialog:
        for line in lines:
            w.text(line)
        if not account["consent"]:
            w.text(
                f"Your consent is kept: comparisons and releases of this folder may then send rows "
                f"and requests to {account['name']}, too, where you name its models.",
                "soft note",
            )
        add_choices(dialog, yes)
    if not await read_choice(dialog):
        return False
    if not account["consent"]:
        await context.do(allow_provider, account["name"])
    return True


def report_card(report: dict[str, Any]) -> None:
    """What was fetched, what was not and why, and when models end."""
    with w.section("What was fetched"):
        if report["complete"]:
            w.text("All of it is here.")
        elif report["ended_early"]:
            w.text("The last run ended early: not everything was asked for.")
        else:
            w.text(f"{count_missing(report)}, for the reasons below.")
        columns = (w.Number("Complete"), w.Number("Missing"), w.Number("Objects"))
        with w.table("What", *columns, w.Number("Size"), label="What was fetched"):
            for one in report["kinds"]:
                counts = (w.Number(f"{one[n]:,}") for n in ("complete", "missing", "objects"))
                w.line(LABELS[one["kind"]], *counts, w.Number(format_size(one["bytes"])))
        missing = report["missing"]
        if missing:
            with w.table("What", "ID", "Reason", label="What could not be had"):
                for one in missing[:SHOWN]:
                    w.line(LABELS[one["kind"]], one["id"][:80], one["reason"])
            if len(missing) > SHOWN:
                w.text(f"… and {len(missing) - SHOWN:,} more in {ACCOUNT}/report.json.", "soft")
        models = report["fine_tuned_models"]
        if not models:
            w.text("There is no fine-tuned model in this account.")
            return
        with w.table("Model", "Ends", "According to", label="Fine-tuned models"):
            for one in models[:SHOWN]:
                w.line(one["model"], one["ends"] or "unknown", one["ends_according_to"])
        if len(models) > SHOWN:
            w.text(f"… and {len(models) - SHOWN:,} more in {ACCOUNT}/report.json.", "soft")
