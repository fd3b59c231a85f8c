"""What is on its way to another program: form, parity gate, files to take along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from nicegui import app as pages_app
from nicegui import ui

from assay.accounts.people import NotAllowedError
from assay.errors import AssayError
from assay.jobs.queue import OVER
from assay.project.export import classifiers
from assay.project.jobs import export
from assay.project.jobs.export import Export
from assay.quantities import say_count
from assay.release.forms import ONNX
from assay.studio import widgets as w
from assay.studio.access import PREFIX
from assay.studio.frame import request_context
from assay.studio.session import PageContext, action, workspace_action
from assay.studio.shared.job_progress import JobCard, job_error, state_badge
from assay.studio.shared.names import plain_labels, typed_term
from assay.studio.words import format_size, format_time

FORMS = {
    "adapter": "adapter: the trained weights only, for PEFT",
    "merged": "merged: the complete model, for transformers, TGI, SGLang",
    "gguf": "gguf: one file, for llama.cpp",
    "gguf-8bit": "gguf-8bit: the same at 8 bits per weight, half the size",
    "gguf-4bit": "gguf-4bit: the same at 4 bits per weight, a third of the size",
    "ollama": "ollama: a GGUF file with a Modelfile",
    "vllm": "vllm: a folder with a script that serves it",
    ONNX: "onnx: a classifier, for onnxruntime",
}
"""The forms of `assay.release.forms`, for people."""
GATE = (
    "Validation prompts are sent to both the engine that evaluated the version and the exported "
    "files. The files are kept only if both tokenize the prompts identically, the score is less "
    "than one point lower, the next-token probabilities are nearly the same, and answers differ "
    "almost only where two tokens were about equally likely. A classifier must give the same "
    "labels, and its probabilities may differ only by rounding."
)
DOWNLOAD = "/exports/{id}.zip"
SHOWN = 20

start_export = workspace_action("editor", export.start)


@action("editor")
def pack_export(context: PageContext, job: str) -> tuple[str, Iterator[bytes]]:
    """A name for a finished export as a file, and its bytes."""
    found = export.find_finished(context.workspace, job)
    return f"{found.file_name}.zip", export.pack(found)


@pages_app.get(DOWNLOAD, include_in_schema=False)
def download(request: Request, id: str) -> Response:
    """A finished export as a zip; only for who is signed in, as all paths of the studio."""
    try:
        name, pieces = pack_export(request_context(request), id)
    except AssayError as error:
        refused = isinstance(error, NotAllowedError)
        return JSONResponse({"error": str(error)}, 403 if refused else 404)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


async def export_card(context: PageContext, versions: Mapping[str, str]) -> None:
    """What is under way, what has been written or refused, and a form for another.

    Args:
        versions: what those that can be exported are called, by id, the first one proposed.
    """
    found = await context.read(export.exports)
    agents = await context.read(lambda workspace: classifiers(workspace.store))
    if not found and not versions and not agents:
        return
    names = {**versions, **plain_labels(agents)}
    for one in found:
        if one.job.status not in OVER:
            what = f"Exporting {names.get(one.version, one.name)} as {one.to}"
            JobCard(context, one.job, what, lambda _: _reload())
    if not found and not context.may("editor"):
        return
    with w.section("Export", "Files with which another program gives the same answers."):
        if context.may("editor") and names:
            _show_form(context, names, agents)
        over = [one for one in found if one.job.status in OVER]
        if over:
            with w.table(
                "Name", "Format", "State", "Created", w.Number("Size"), "", label="Exports"
            ):
                for one in over[:SHOWN]:
                    _show_line(context, one, names.get(one.version, one.name))
            newest = over[0]
            if newest.bytes is not None:
                _show_files(newest)
            elif newest.job.status == "failed":
                w.text(f"The export as {newest.to} failed. {job_error(newest.job)}", "pre bad")


def _show_form(context: PageContext, names: dict[str, str], agents: Sequence[str]) -> None:
    with w.row():
        version = w.field(
            "Version or agent",
            ui.select(names, value=next(iter(names))),
            name="Version or agent to export",
        )
        to = w.field(
            "Format",
            ui.select(FORMS, value=ONNX if next(iter(names)) in agents else "gguf"),
            name="Export format",
        )

        def propose() -> None:
            if (version.value in agents) != (to.value == ONNX):
                to.set_value(ONNX if version.value in agents else "gguf")

        version.on_value_change(propose)

        async def click() -> None:
            await context.do(start_export, str(version.value), str(to.value))
            _reload()

        w.button("Export", click, kind="primary", icon="output").classes("beside-field")
    w.term("Kept only if its answers match", GATE)


def _show_line(context: PageContext, one: Export, called: str) -> None:
    with ui.element("tr"):
        with ui.element("td"):
            typed_term(called, one.name)
        w.text(one.to, tag="td")
        with ui.element("td"):
            state_badge(one.job)
        w.text(format_time(one.job.created), tag="td")
        w.text("" if one.bytes is None else format_size(one.bytes), "number", "td")
        with w.cell("acts"):
            if one.bytes is not None and context.may("editor"):
                label = f"Download {called} as {one.to}"
                link = w.set_label(w.text("Download", tag="a").props("download"), label)
                link.props["href"] = PREFIX + DOWNLOAD.format(id=one.job.id)
            elif one.job.error:
                w.text(job_error(one.job, 120), "note bad", "div")


def _show_files(one: Export) -> None:
    result: dict[str, Any] = one.job.result or {}
    _show_parity(one, result["parity"])
    w.text(f"Files: {', '.join(result['files'])}.", "soft note")
    if result["command"]:
        what = "query it" if one.to == ONNX else "serve it"
        w.code(result["command"], f"Command to {what}, run in the folder with these files")


def _show_parity(one: Export, parity: dict[str, Any]) -> None:
    if one.to == ONNX:
        w.text(
            f"The newest export gives the same answers: all labels of "
            f"{say_count(parity['rows'], 'validation row')} match, and probabilities differ by at "
            f"most {parity['largest']:.1e}; rounding explains up to {parity['allowed']:.1e}."
        )
        return
    next_token = (  # results that are older may lack both
        ""
        if parity["divergence"] is None
        else f" The mean divergence of the next token is {parity['divergence']:.1e} nats."
    )
    if parity.get("near_ties"):
        evaluated, target = parity["formats"]
        next_token += (
            f" {say_count(parity['near_ties'], 'answer differs', 'answers differ')} where two "
            f"tokens were about equally likely, which the formats explain: {evaluated} when "
            f"evaluated, {target} here."
        )
    w.text(
        f"The newest export gives the same answers: on "
        f"{say_count(parity['prompts'], 'validation prompt')} it scores {parity['target']:.4f}, "
        f"the evaluated version {parity['evaluated']:.4f}; "
        f"{say_count(parity['equal_answers'], 'answer is', 'answers are')} identical.{next_token}"
    )


def _reload() -> None:
    ui.navigate.to("/models?part=versions")
