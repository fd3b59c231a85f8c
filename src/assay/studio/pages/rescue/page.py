"""Rescue: what an account at OpenAI holds and its models answer, kept before it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from assay.project.jobs import rescue
from assay.project.jobs.rescue import RescueState
from assay.project.settings import providers
from assay.studio import widgets as w
from assay.studio.frame import Page
from assay.studio.pages.rescue.account import account_card, report_card
from assay.studio.pages.rescue.files import FilesCard
from assay.studio.pages.rescue.models import (
    model_cards,
    program_card,
    projects_card,
    unmade_card,
)
from assay.studio.session import PageContext, action
from assay.studio.shared.job_progress import show_job
from assay.studio.shared.provider_form import OTHER, provider_form

PATH = "/rescue"


@action("admin")
def read_state(context: PageContext) -> tuple[RescueState, list[dict[str, Any]]]:
    """How far it is, and the providers that speak OpenAI's protocol and have a key."""
    known = context.workspace.providers
    usable = [
        one
        for one in providers.list_providers(known)
        if one["protocol"] == "openai" and providers.has_key(known, one["name"])
    ]
    return rescue.read_rescue(context.workspace), usable


async def build(context: PageContext) -> None:
    """The steps in their order; what cannot be done yet is not shown."""
    w.title(
        "Rescue",
        "Keep what an account at OpenAI holds, and replace its fine-tuned models before they end.",
    )
    loaded = await w.load("Looking at what is here", context.do(read_state))
    if loaded is None:
        return
    state, accounts = loaded
    show_job(context, state.job, reload, _advise)
    _key_step(context, accounts)
    if accounts:
        account_card(context, accounts, state, reload)
    report = state.report if state.report is not None and state.report["kinds"] else None
    if report is not None:
        report_card(report)
        if report["fine_tuned_models"]:
            projects_card(context, accounts, state, reload)
    files = FilesCard(context, accounts, state, reload)
    await files.show()
    unmade_card(state)
    cards = model_cards(context, accounts, state, reload)
    if cards:
        program_card(context)
    await files.show_used(cards)


def reload() -> None:
    """The page as it is now."""
    ui.navigate.to(PATH)


def _advise(error: str) -> None:
    if "key is refused" in error:
        w.link("Replace the key", "/people?part=providers")


def _key_step(context: PageContext, accounts: Sequence[dict[str, Any]]) -> None:
    async def added() -> None:
        reload()

    def form() -> None:
        provider_form(context, added, only=("OpenAI", OTHER), needs_key=True)

    with w.section(
        "1. Key",
        "A key of the account, which may read models, files, fine-tuning, evals and stored "
        "completions. A key sees the data of its project at OpenAI.",
    ):
        if accounts:
            names = ", ".join(f"{one['name']} ({one['base_url']})" for one in accounts)
            w.text(f"There is a key: {names}.")
        w.link("Replace or remove keys", "/people?part=providers")
        if accounts:
            with w.details("Add another key"):
                form()
    if not accounts:
        form()


PAGE = Page(PATH, "Rescue", "move_to_inbox", "Manage", "admin", build)
