"""Agent: what it is told, what it is shown, which model answers; changed, tried, and taken back."""

from __future__ import annotations

from urllib.parse import quote

from nicegui import ui

from assay.agent.edits import Draft
from assay.agent.versions import AgentVersion
from assay.errors import AssayError
from assay.project import agents, comparisons
from assay.project.agents import drafts
from assay.project.knowledge import documents
from assay.studio.dialogs import telling
from assay.studio.frame import Page
from assay.studio.pages.agent.editor import Editing, newest, save
from assay.studio.pages.agent.history import history
from assay.studio.session import Visit, action
from assay.studio.shared.form_and_text import Reopen
from assay.studio.widgets import (
    button,
    card,
    empty,
    failure,
    field,
    heading,
    moment,
    named,
    row,
    somebody,
    text,
    title,
    waiting,
)

PATH = "/agent"


@action("viewer")
def listed(visit: Visit) -> list[AgentVersion]:
    """The newest version of every agent."""
    return agents.listed(visit.workspace)


@action("viewer")
def choices(visit: Visit) -> list[str]:
    """The models that an agent can have."""
    return drafts.models(visit.workspace)


@action("viewer")
def bases(visit: Visit) -> list[str]:
    """The knowledge bases that an agent can have."""
    return documents.names(visit.workspace)


@action("viewer")
def arms_of(visit: Visit, draft: Draft) -> dict[str, str]:
    """The agents that a route can choose, and those that it chooses, by id."""
    route = draft.agent.route
    there = {one.agent: one.label for one in agents.listed(visit.workspace)}
    used = comparisons.labels(visit.workspace, route.arms) if route is not None else {}
    return {id: label for id, label in {**there, **used}.items() if id != draft.agent.id}


async def build(visit: Visit) -> None:
    """The agent that the address names, or the one that was saved last."""
    wanted = ui.context.client.request.query_params.get("name")
    title(
        "Agent",
        "Everything that makes a model a specialist, as one thing with versions: what it is told, "
        "what it is shown, what its answers look like.",
    )
    found = await visit.do(listed)
    models = await visit.do(choices)
    if not found:
        empty(
            "smart_toy",
            "There is no agent yet",
            "A comparison makes some, out of your examples. You can also write one yourself.",
        )
        if visit.may("editor"):
            with card():
                _new(visit, found, models)
        return
    names = [version.name for version in found]
    latest = max(found, key=lambda version: version.at).name
    if wanted is not None and wanted not in names:
        text(f"There is no agent {wanted} (any more).", "bad")
    name = wanted if wanted in names else latest
    _choose(visit, found, models, name)
    shown = ui.element("div").classes("stack gap")

    async def reopen() -> None:
        shown.clear()
        with shown:
            await _agent(visit, name, models, reopen)

    with shown:
        waiting("Reading the agent")
    ui.timer(0.05, reopen, once=True)  # the editor is large; the page is there before it


def _choose(visit: Visit, found: list[AgentVersion], models: list[str], name: str) -> None:
    with row():
        with field("Agent"):
            chosen = ui.select([version.name for version in found], value=name)
            named(chosen, "Agent")
            chosen.on_value_change(lambda: ui.navigate.to(_address(chosen.value)))
        if visit.may("editor"):
            with ui.dialog() as dialog, ui.card().classes("studio"):
                _new(visit, found, models)
            button("New agent", dialog.open, icon="add").classes("beside-field")


async def _agent(visit: Visit, name: str, models: list[str], reopen: Reopen) -> None:
    loading = waiting("Reading the agent")
    try:
        draft = await visit.do(newest, name)
    except AssayError as error:
        loading.delete()
        failure(error)
        return
    loading.delete()
    version = draft.version
    with row("spread"):
        why = f": {version.message}" if version.message else ""
        text(f"{version.label}, by {somebody(version.author)}, {moment(version.at)}{why}", "soft")
        with ui.tabs().props("no-caps dense") as tabs:
            ui.tab("edit", "Edit")
            ui.tab("history", "Versions")
    with ui.tab_panels(tabs, value="edit", animated=False):
        with ui.tab_panel("edit"):
            arms = await visit.do(arms_of, draft)
            Editing(visit, draft, models, await visit.do(bases), arms, reopen)
        with ui.tab_panel("history").classes("stack gap"):
            await history(visit, name, reopen)


def _new(visit: Visit, found: list[AgentVersion], models: list[str]) -> None:
    """A form for another agent: from nothing, or from one that is there."""
    blank = "Nothing"
    heading("New agent")
    with field("Name", "Letters, digits, hyphens, dots."):
        name = ui.input()
        named(name, "Name of the new agent")
    with field("Begin with", "A copy is changed without touching what it is a copy of."):
        source = ui.select([blank, *(version.name for version in found)], value=blank)
        named(source, "Begin with")
    with field("Model"):
        model = ui.select(models, value=models[0] if models else None)
        named(model, "Model of the new agent")
        model.bind_enabled_from(source, "value", lambda value: value == blank)

    async def make() -> None:
        with telling():
            if source.value == blank:
                content = drafts.beginning(model.value or "")
                why = "begun"
            else:
                draft = await visit.do(newest, source.value)
                content, why = draft.text, f"a copy of {draft.version.label}"
            called = (name.value or "").strip()
            await visit.do(save, called, content, None, why)
            ui.navigate.to(_address(called))

    name.on("keydown.enter", make)
    with row():
        button("Make it", make, kind="primary")


def _address(name: str) -> str:
    return f"{PATH}?name={quote(name)}"  # behind the prefix, which NiceGUI puts there


PAGE = Page(PATH, "Agent", "smart_toy", "Build", "viewer", build, wide=True)
