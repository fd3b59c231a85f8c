"""Traces: which jobs calls of other programs are of, what each costs, and a project of one."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from nicegui import ui

from assay.compare.report.wording import usd
from assay.defaults import IMPORTED_TRACES, TRACE_PROJECTS
from assay.errors import UsageError
from assay.project.imported import JobFiles
from assay.project.jobs import imported_traces
from assay.project.jobs.imported_traces import TraceState
from assay.project.releases.kept import count_kept
from assay.project.rescue.plan import LEAST_HELD
from assay.quantities import say_count
from assay.release.imported.job import LEAST
from assay.studio import widgets as w
from assay.studio.dialogs import errors_at
from assay.studio.frame import Page
from assay.studio.session import PageContext, workspace_action
from assay.studio.shared.another_project import next_port
from assay.studio.shared.job_progress import show_job
from assay.studio.words import format_size, format_time

PATH = "/traces"
TASKS = {"label": "Labels", "json": "Records", "text": "Free text", "tools": "Tools"}
_LONGEST = 90
_WORD = re.compile(r"[a-z0-9]+")

read_state = workspace_action("admin", imported_traces.read_traces)
start_search = workspace_action("admin", imported_traces.find_jobs)
start_making = workspace_action("admin", imported_traces.start_project)


async def build(context: PageContext) -> None:
    """What is there and how more comes, then the jobs."""
    w.title(
        "Traces",
        "Calls that other programs have made to models, sorted into jobs: what each costs, and "
        "whether something cheaper could do it.",
    )
    state = await w.load("Looking at what is here", context.do(read_state))
    if state is None:
        return
    await _show_own(context)
    show_job(context, state.job, reload)
    _traces_card(context, state)
    if state.found is not None and state.bytes:
        _found_cards(context, state, state.found)


async def _show_own(context: PageContext) -> None:
    """Where the traces of the project's own releases are."""
    count = await context.read(count_kept)
    kept = say_count(count, "is", "are") if count else "none is"
    with w.card("tight"), w.row():
        w.text(f"This page is about other programs. Traces of your own releases are under "
               f"Releases, where {kept} kept.", "soft")  # fmt: skip
        w.link("Go to Releases", "/releases")


def reload() -> None:
    """The page as it is now."""
    ui.navigate.to(PATH)


def _traces_card(context: PageContext, state: TraceState) -> None:
    async def search() -> None:
        await context.do(start_search)
        reload()

    with w.section("Traces of other programs"):
        if state.bytes:
            w.text(f"{IMPORTED_TRACES} has {format_size(state.bytes)} of traces, with keys, card "
                   "numbers, e-mail addresses and phone numbers replaced.")  # fmt: skip
        else:
            w.text("There are none yet.")
        found = state.found
        if found is not None and state.bytes:
            at = format_time(datetime.fromisoformat(found["at"]))
            w.text(f"{say_count(found['traces'], 'trace')} of {say_count(found['count'], 'job')} "
                   f"were found on {at}.")  # fmt: skip
            if found["bytes"] != state.bytes:
                w.text("Traces have come since. Look again to see them.")
        if state.bytes:
            with w.row():
                label = "Look again" if found else "Look for jobs"
                made = w.button(label, search, kind="" if found else "primary", icon="search")
                made.set_enabled(not state.is_busy)
        with w.details("How traces come here"), ui.element("div").classes("stack"):
            _ways_in(context)


def _ways_in(context: PageContext) -> None:
    folder = shlex.quote(str(context.workspace.root / IMPORTED_TRACES))
    w.text("From a file that OpenTelemetry, Langfuse, LiteLLM or a program of yours has written, "
           "at a terminal of the machine that serves this page:")  # fmt: skip
    w.code(f"assay traces import calls.jsonl --to {folder}", "Command to import a file")
    w.text("Or straight from a program with OpenTelemetry. It needs a key with the scope Spans, "
           "which may send traces and read nothing:")  # fmt: skip
    w.link("Create a key", "/people?part=keys")
    address = f"{context.address}/v1/traces"
    lines = (
        f"export OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={address}",
        'export OTEL_EXPORTER_OTLP_TRACES_HEADERS="Authorization=Bearer%20assay-..."',
        "export OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true",
    )
    w.code("\n".join(lines), "Environment of a program that sends traces")


def _found_cards(context: PageContext, state: TraceState, found: dict[str, Any]) -> None:
    for job in found["jobs"]:
        _job_card(context, state, job)
    if more := found["count"] - len(found["jobs"]):
        w.text(f"{say_count(more, 'job')} with fewer calls: `assay traces jobs` shows all.", "soft")


def _job_card(context: PageContext, state: TraceState, job: dict[str, Any]) -> None:
    shown = job["system"] or job["input"]
    with w.section(_short(shown), f"Job {job['id']}"):
        with ui.element("div").classes("flow figures"):
            w.figure(f"{job['calls']:,}", "Calls")
            w.figure(usd(job["usd"]), "Cost", "What the traces say, else tokens times the price.")
            w.figure(_seconds(job["median_s"]), "Median time", "Half of the calls took longer.")
            w.figure(_seconds(job["p95_s"]), "95th percentile", "5 % of the calls took longer.")
            w.figure(f"{job['answers']:,}", "Different answers")
            if job["calls"] >= LEAST:
                w.figure(TASKS[job["task"]], "Answers look like")
        w.text("Could something cheaper do this?", tag="h3")
        w.text(job["cheaper"])
        with w.details("More about this job"), ui.element("div").classes("stack"):
            if job["system"]:
                w.text("System prompt", tag="h3")
                w.text(job["system"], "pre")
            w.text("First input", tag="h3")
            w.text(job["input"], "pre")
            for note in job["notes"]:
                w.text(note)
        made = state.made.get(job["id"])
        if made is not None and Path(made.folder).exists():
            _show_made(context, made)
        _project_form(context, state, job, is_first=made is None)


def _project_form(
    context: PageContext, state: TraceState, job: dict[str, Any], *, is_first: bool
) -> None:
    words = _WORD.findall((job["system"] or job["input"]).lower())[:3]
    with w.row("ask"):
        name = w.label_input(ui.input(value="-".join(words)[:40]), f"Name for job {job['id']}")

        async def make() -> None:
            with errors_at(name, UsageError):
                await context.do(start_making, job["id"], (name.value or "").strip())
            reload()

        kind = "primary" if is_first else ""
        made = w.button("Make a project", make, kind=kind, name=f"Make a project of {job['id']}")
        made.set_enabled(not state.is_busy)
    w.text(f"It is written to {TRACE_PROJECTS} in the folder that is served here; nothing is sent. "
           "The holdout is taken from the answers that people corrected or rated up. Where there "
           f"are fewer than {LEAST_HELD} of them, no project is made: the inputs are written there "
           "instead, for you to label.", "soft note")  # fmt: skip


def _show_made(context: PageContext, made: JobFiles) -> None:
    w.text("What was made of it", tag="h3")
    for line in made.sentences():
        w.text(line, "breaks")
    if made.project:
        w.text("Compare there, or serve it beside this one, at a terminal of this machine:")
        lines = [f"cd {shlex.quote(made.project)}", "assay compare"]
        lines.append(f"assay serve --port {next_port(context)}")
        w.code("\n".join(lines), f"Commands for {Path(made.folder).name}")
    elif step := made.next_step():
        w.text(f"Next: {step}", "breaks")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} s"


PAGE = Page(PATH, "Traces", "account_tree", "Manage", "admin", build)
