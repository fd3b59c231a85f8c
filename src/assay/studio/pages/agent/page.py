"""Agent: what it is told, what it is shown, which model answers; changed, tried, and taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from operator import itemgetter
from urllib.parse import quote

from nicegui import ui

from assay.accounts.authors import format_author
from assay.agent.edits import Draft, StaleEditError
from assay.agent.versions import AgentVersion
from assay.errors import AssayError, UsageError
from assay.project import agents, comparisons, releases
from assay.project.agents import drafts
from assay.project.knowledge import documents
from assay.project.workspace import Workspace
from assay.studio import widgets as w
from assay.studio.browser import show_at_once
from assay.studio.dialogs import enter_or_click, errors_at, type_at_once
from assay.studio.frame import Page
from assay.studio.pages.agent.editor import AgentEditor, save_agent
from assay.studio.pages.agent.history import history_tab
from assay.studio.session import PageContext, Refresh, action
from assay.studio.shared.names import plain_label, plain_labels, typed_term
from assay.studio.shared.opening import open_editor
from assay.studio.shared.verdict import find_recommended
from assay.studio.words import format_time

PATH = "/agent"


@action("viewer")
def list_arms(context: PageContext, draft: Draft) -> dict[str, str]:
    """The agents that a route can choose, and those that it chooses, by id."""
    route = draft.agent.route
    there = {one.agent: one.label for one in agents.list_agents(context.workspace)}
    used = comparisons.labels(context.workspace, route.arms) if route is not None else {}
    labels = {id: label for id, label in {**there, **used}.items() if id != draft.agent.id}
    plain = plain_labels(labels.values())
    return {id: plain[label] for id, label in labels.items()}


def choose_first(workspace: Workspace, found: list[AgentVersion]) -> str:
    """The name of the agent to begin with: what a release was pointed at last, or what somebody
    has saved since; before, of what a comparison has saved the one it names."""
    last = max(found, key=lambda version: version.at)
    result = comparisons.newest(workspace)
    compared = {one.agent for one in result.candidates} if result is not None else set()
    served = max(releases.list_releases(workspace), key=itemgetter("at"), default=None)
    is_newer = served is None or datetime.fromisoformat(served["at"]) <= last.at
    if last.agent not in compared and is_newer:
        return last.name
    named = [served["agent"].partition("@")[0]] if served is not None else []
    best = None if result is None else find_recommended(result)
    if best is not None:
        named += [one.name for one in found if one.agent == best.agent]
    return next((name for name in named if any(one.name == name for one in found)), last.name)


async def build(context: PageContext) -> None:
    """The agent that the address names, or the one to begin with."""
    wanted = ui.context.client.request.query_params.get("name")
    w.title(
        "Agent",
        "Everything that makes a model a specialist, as one versioned agent: its instructions, its "
        "examples and its answer format.",
    )
    found = await context.read(agents.list_agents)
    models = await context.read(drafts.models)
    if not found:
        w.empty(
            "smart_toy",
            "No agents yet",
            "A comparison creates agents from your examples. You can also create one yourself.",
        )
        if context.may("editor"):
            with w.card():
                _show_new_form(context, found, models)
        return
    names = [version.name for version in found]
    if wanted in names:
        name = wanted
    else:
        name = await context.read(choose_first, found)
        if wanted is not None:
            w.text(f"There is no agent named {wanted}; {plain_label(name)} is shown.", "bad")
    _show_chooser(context, found, models, name)
    open_editor("Reading the agent", lambda reopen: _show_agent(context, name, models, reopen))


def _show_chooser(
    context: PageContext, found: list[AgentVersion], models: list[str], name: str
) -> None:
    with w.row():
        chosen = w.field(
            "Agent", ui.select({one.name: plain_label(one.name) for one in found}, value=name)
        )

        def go() -> None:
            if chosen.value != name:
                ui.navigate.to(_make_path(chosen.value))
                chosen.set_value(name)  # who stays, for unsaved changes, is still here

        chosen.on_value_change(go)
        if context.may("editor"):
            with ui.dialog() as dialog, ui.card().classes("studio"):
                type_at_once(dialog)
                _show_new_form(context, found, models, dialog.close)
            w.button("Create agent", dialog.open, icon="add").classes("beside-field")


async def _show_agent(context: PageContext, name: str, models: list[str], reopen: Refresh) -> None:
    found = await w.load("Reading the agent", _read(context, name))
    if found is None:
        return
    draft, arms, bases = found
    with w.row("spread"):
        with w.text("", "soft") as about:
            _show_version(draft.version)
        with ui.tabs().props("no-caps dense") as tabs:
            ui.tab("edit", "Edit")
            ui.tab("history", "Versions")
        show_at_once(tabs)

    async def show_saved(now: Draft) -> None:
        with w.refill(about):
            _show_version(now.version)
        with w.refill(history):
            await history_tab(context, name, reopen)

    with ui.tab_panels(tabs, value="edit", animated=False):
        with ui.tab_panel("edit"):
            AgentEditor(context, draft, models, bases, arms, reopen, show_saved)
        with ui.tab_panel("history").classes("stack gap") as history:
            await history_tab(context, name, reopen)


def _show_version(version: AgentVersion) -> None:
    why = f": {version.message}" if version.message else ""
    who = f"Version {version.version}, by {format_author(version.author)}"
    typed_term(f"{who}, {format_time(version.at)}{why}", version.label)


async def _read(context: PageContext, name: str) -> tuple[Draft, dict[str, str], list[str]]:
    """An agent, the agents that its route can choose, and the knowledge bases it can search."""
    draft = await context.read(agents.read, name)
    return draft, await context.do(list_arms, draft), await context.read(documents.names_for_agents)


def _show_new_form(
    context: PageContext,
    found: list[AgentVersion],
    models: list[str],
    cancel: Callable[[], object] | None = None,
) -> None:
    """A form for another agent: from nothing, or from one that is there.

    Args:
        cancel: closes the dialog that it stands in; None: it stands on the page.
    """
    blank = "Blank agent"
    w.heading("New agent")
    name = w.field(
        "Name",
        ui.input(),
        "Letters, digits, dots, hyphens and underscores.",
        name="Name of the new agent",
    )
    source = w.field(
        "Start from",
        ui.select(
            {blank: blank, **{version.name: plain_label(version.name) for version in found}},
            value=blank,
        ),
        "Changes to a copy do not affect the original.",
    )
    model = w.field(
        "Model",
        ui.select(models, value=models[0] if models else None),
        name="Model of the new agent",
    )
    model.bind_enabled_from(source, "value", lambda value: value == blank)

    async def make() -> None:
        if source.value == blank:
            content = drafts.begin(model.value or "")
            why = "created"
        else:
            draft = await context.read(agents.read, source.value)
            content, why = draft.text, f"copied from {draft.version.label}"
        called = (name.value or "").strip()
        with errors_at(name, UsageError, StaleEditError, say=partial(_refuse_name, called)):
            await context.do(save_agent, called, content, based_on=None, message=why)
        ui.navigate.to(_make_path(called))

    enter_or_click(name, "Create", make, cancel)


def _refuse_name(name: str, error: AssayError) -> str:
    is_taken = isinstance(error, StaleEditError)
    return f"there is an agent {name} already. Choose another name." if is_taken else str(error)


def _make_path(name: str) -> str:
    return f"{PATH}?name={quote(name)}"  # behind the prefix, which NiceGUI puts there


PAGE = Page(PATH, "Agent", "smart_toy", "Build", "viewer", build, wide=True)
