"""The first two steps of Start: a file is brought; what is in it, and what is proposed."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nicegui import events, ui
from nicegui.element import Element

from assay.candidates import registry
from assay.candidates.spec import DOCUMENTS
from assay.data.propose import Proposal
from assay.errors import AssayError
from assay.progress import SILENT
from assay.project.project import Project
from assay.project.start import from_file
from assay.project.start.from_file import Found, Wanted
from assay.studio.dialogs import say, telling
from assay.studio.session import Visit, action
from assay.studio.shared.findings import TASKS, found_card, problems_card
from assay.studio.shared.upload import Bringing
from assay.studio.widgets import (
    button,
    card,
    failure,
    field,
    heading,
    named,
    row,
    term,
    text,
    waiting,
)

Refresh = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Beside:
    """Documents that were brought beside the examples.

    Attributes:
        names: of those that can be searched.
        tell: called when that changes.
    """

    names: list[str]
    tell: Callable[[], None] = lambda: None


@action("editor")
def keep_file(visit: Visit, name: str, source: Path) -> Path:
    """Keep the file that was brought."""
    return from_file.keep_file(visit.workspace, name, source)


@action("editor")
def keep_example_file(visit: Visit) -> Path:
    """Bring the built-in examples."""
    return from_file.keep_example_file(visit.workspace)


@action("editor")
def forget_file(visit: Visit) -> None:
    """Remove what was brought."""
    from_file.forget_file(visit.workspace)


@action("viewer")
def documents_of(visit: Visit) -> list[str]:
    """Documents that were brought beside the examples."""
    return from_file.brought_documents(visit.workspace)


@action("editor")
def create(visit: Visit, found: Found) -> Project:
    """Make the project."""
    assert found.draft is not None
    return from_file.create_here(visit.workspace, found.draft)


def choose_file(visit: Visit, refresh: Refresh) -> None:
    """The place to drop a file on."""
    if not visit.may("editor"):
        with card():
            heading("Nothing is here yet", "An editor can bring examples.")
        return

    async def brought(event: events.UploadEventArguments) -> None:
        with telling():
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder) / "brought"
                await event.file.save(source)
                await visit.do(keep_file, event.file.name, source)
            await refresh()

    async def example() -> None:
        with telling():
            await visit.do(keep_example_file)
            await refresh()

    with card("drop"):
        ui.icon("upload_file").props("aria-hidden=true").classes("drop-icon")
        heading("Drop a file of examples here")
        text(
            "CSV, Excel, JSON or JSONL: one row or record an example. Some hundred make a verdict. "
            "Documents come next, if you have any. All of it stays on this machine.",
            "soft",
        )
        upload = ui.upload(on_upload=brought, auto_upload=True, max_files=1)
        upload.props('accept=".csv,.tsv,.xlsx,.json,.jsonl,.parquet,.txt"').classes("drop-target")
        upload.on("rejected", lambda: say("This kind of file cannot be read."))
        with row():
            button(
                "Choose a file",
                lambda: upload.run_method("pickFiles"),
                kind="primary",
                icon="folder_open",
            )
            button("Use built-in examples", example)


async def look_at_file(visit: Visit, refresh: Refresh) -> None:
    """What is in the file, and what is proposed; every answer of the person looks again."""
    file = from_file.kept_file(visit.workspace)
    assert file is not None
    beside = Beside(await visit.do(documents_of))
    shown = ui.element("div").classes("stack gap")
    if visit.may("editor"):
        _documents(visit, beside)
    proposed = ui.element("div").classes("stack gap")

    async def look(wanted: Wanted) -> None:
        shown.clear()
        proposed.clear()
        with shown:
            seen = waiting(f"Reading {file.name}")
        try:
            found = await visit.do(lambda v: from_file.look(v.workspace, file, wanted, SILENT))
        except AssayError as error:
            seen.delete()
            with shown:
                failure(error)
                with row("centred"):
                    _another(visit, refresh)
            return
        seen.delete()
        with shown:
            if found.report is None:
                _columns(visit, found, wanted, look, refresh)
                return
            found_card(found)
        with proposed:
            _propose(visit, found, wanted, beside, look, refresh)

    ui.timer(0.05, lambda: look(Wanted()), once=True)


def _documents(visit: Visit, beside: Beside) -> None:
    """The place to drop documents on; leaving it alone is fine."""

    async def came() -> None:
        with telling():
            beside.names = await visit.do(documents_of)
            beside.tell()

    Bringing(
        visit,
        from_file.KNOWLEDGE,
        came,
        (
            "Should answers rest on documents?",
            "Bring manuals, policies, price lists, and candidates that search them take part. "
            "Without documents, go on below.",
        ),
    )
    if beside.names:
        text(f"Brought before: {', '.join(beside.names)}.", "soft note")


def _propose(
    visit: Visit,
    found: Found,
    wanted: Wanted,
    beside: Beside,
    look: Callable[[Wanted], Awaitable[None]],
    refresh: Refresh,
) -> None:
    assert found.report is not None
    if found.draft is not None:
        _proposal(visit, found, wanted, beside, look, refresh)
    elif found.question is not None:
        with card("lost"):
            heading("No project can be made of it yet", found.question.what)
            if found.question.fix:
                text(found.question.fix, "soft")
            with row():
                _another(visit, refresh)
    problems_card(found.report)


def _another(visit: Visit, refresh: Refresh) -> None:
    async def click() -> None:
        with telling():
            await visit.do(forget_file)
            await refresh()

    if visit.may("editor"):
        button("Use another file", click, icon="undo")


def _columns(
    visit: Visit,
    found: Found,
    wanted: Wanted,
    look: Callable[[Wanted], Awaitable[None]],
    refresh: Refresh,
) -> None:
    with card():
        heading("Which column is what?", f"{found.file.name} has {len(found.fields)} columns.")
        names = list(found.fields)
        with row("top-aligned"):
            with field("What comes in", "One column, or several."):
                comes = ui.select(names, multiple=True, value=[])
                named(comes, "What comes in")
            with field("What should come out", "One column; several become one record."):
                goes = ui.select(names, multiple=True, value=[])
                named(goes, "What should come out")
            with field("Rows that belong together", "Such as one customer's. May stay empty."):
                group = ui.select(names, clearable=True)
                named(group, "Rows that belong together")

        async def click() -> None:
            if comes.value and goes.value:
                given: dict[str, Any] = {
                    "input": tuple(comes.value),
                    "output": tuple(goes.value),
                    "group": group.value,
                }
                await look(replace(wanted, **given))

        with row():
            button("Go on", click, kind="primary")
            _another(visit, refresh)


def _proposal(
    visit: Visit,
    found: Found,
    wanted: Wanted,
    beside: Beside,
    look: Callable[[Wanted], Awaitable[None]],
    refresh: Refresh,
) -> None:
    assert found.draft is not None
    proposal = found.draft.proposal
    with card("accent"):
        heading("What is proposed", "Keep it as it is, or change it. All of it can change later.")
        if not visit.may("editor"):
            text("An editor can go on from here.", "soft")
            return
        with row("top-aligned"):
            with field("The job"):
                task = ui.select(dict(TASKS), value=proposal.task)
                named(task, "The job")
            with field("Good enough is", "Right answers in 100, below which none is worth having."):
                enough = ui.number(value=round(100 * proposal.good_enough), min=0, max=100)
                named(enough, "Good enough is, in 100")
            with field("Requests a month", "How often it will be asked. Decides what is cheapest."):
                monthly = ui.number(value=wanted.monthly_requests, min=0, precision=0)
                named(monthly, "Requests a month")
        text("Candidates", "field-label", "div")
        ticks = _candidates(proposal, beside)
        with ui.element("details"):
            text("What the model is told", tag="summary")
            prompt = ui.textarea(value=proposal.system_prompt).props("autogrow")
            named(prompt, "What the model is told")

        async def job_changed() -> None:
            await look(replace(wanted, task=task.value))

        task.on_value_change(job_changed)

        async def click() -> None:
            chosen = tuple(name for name, tick in ticks.items() if tick.value)
            if not chosen:
                say("Tick at least one candidate.")
                return
            go.props("loading")
            given = replace(
                wanted,
                candidates=chosen,
                system_prompt=prompt.value,
                good_enough=float(enough.value or 0) / 100,
                monthly_requests=int(monthly.value or 0),
            )
            try:
                with telling():
                    file = found.file
                    final = await visit.do(
                        lambda v: from_file.look(v.workspace, file, given, SILENT)
                    )
                    await visit.do(create, final)
                    await refresh()
            finally:
                if not go.is_deleted:
                    go.props(remove="loading")

        with row():
            go = button("Make the project", click, kind="primary", icon="check")
            _another(visit, refresh)


def _candidates(proposal: Proposal, beside: Beside) -> dict[str, ui.checkbox]:
    """A box for each candidate; those that need documents are there when documents are."""
    ticks: dict[str, ui.checkbox] = {}
    lines: dict[str, Element] = {}
    labels = proposal.task == "label"
    offered = registry.offered(labels=labels, documents=True)
    usual = registry.proposed(labels=labels, documents=True)
    with ui.element("div").classes("choices"):
        for name, spec in offered.items():
            with row() as lines[name]:
                ticks[name] = ui.checkbox(
                    spec.title[:1].upper() + spec.title[1:], value=name in proposal.candidates
                )
                term("what is it?", spec.explanation)

    searching = [name for name, spec in offered.items() if DOCUMENTS in spec.needs]

    def documents() -> None:
        for name in searching:
            if lines[name].visible != bool(beside.names):
                lines[name].set_visibility(bool(beside.names))
                ticks[name].value = bool(beside.names) and name in usual

    for name in searching:
        lines[name].set_visibility(name in proposal.candidates)
    beside.tell = documents
    documents()
    return ticks
