"""Models: what can be built on, what was trained from it, and how a version leaves the house."""

from __future__ import annotations

from nicegui import ui

from assay.errors import AssayError
from assay.jobs.queue import OVER, Job
from assay.models.show import ModelInfo
from assay.project import models
from assay.project.models import BaseModel
from assay.studio.dialogs import put_away, telling
from assay.studio.frame import Page
from assay.studio.pages.models.versions import model_versions
from assay.studio.session import Visit, action
from assay.studio.shared.job_progress import Running
from assay.studio.widgets import (
    badge,
    button,
    card,
    cells,
    failure,
    heading,
    labelled,
    line,
    named,
    row,
    size,
    table,
    term,
    text,
    title,
    waiting,
)

PATH = "/models"
PARTS = {"models": "Base models", "versions": "Versions"}
MEANINGS = {
    "tuning": (
        "Memory that training an adapter on the model takes at the very least, about; long rows "
        "take more. What a training of yours takes is counted exactly before it begins."
    ),
}


@action("viewer")
def listed(visit: Visit) -> tuple[list[BaseModel], list[Job]]:
    """The base models, and the jobs that fetch some, the newest first."""
    return models.listed(), models.pulls(visit.workspace)


@action("viewer")
def describe(visit: Visit, ref: str) -> ModelInfo:
    """All there is to say about a model that is on this machine."""
    return models.describe(ref)


@action("editor")
def pull(visit: Visit, ref: str) -> Job:
    """Fetch a model."""
    return models.pull(visit.workspace, ref)


async def build(visit: Visit) -> None:
    """One tab a part; `?part=` names the first to be seen."""
    wanted = ui.context.client.request.query_params.get("part", "models")
    title(
        "Models",
        "Base models are what one starts from; versions are what your examples have made of them.",
    )
    with ui.tabs().props("no-caps dense align=left") as tabs:
        for part, label in PARTS.items():
            ui.tab(part, label)
    with ui.tab_panels(tabs, value=wanted if wanted in PARTS else "models", animated=False):
        with ui.tab_panel("models"), ui.element("div").classes("stack gap"):
            await _base_models(visit)
        with ui.tab_panel("versions"), ui.element("div").classes("stack gap"):
            await model_versions(visit)


async def _base_models(visit: Visit) -> None:
    found, pulls = await visit.do(listed)
    for job in pulls:
        if job.status not in OVER:
            Running(visit, job, f"Fetching {job.payload['model']}", lambda _: _again())
    if pulls and pulls[0].status == "failed":
        with card("lost"):
            heading(f"{pulls[0].payload['model']} could not be fetched")
            text(str(pulls[0].error), "pre")
    with card():
        heading(
            "Base models",
            "Starters, which come from your package index, and what was fetched to this machine.",
        )
        with table("Model", "What it is", "Here", "#Size", "Licence", "#Memory to tune", "",
                   label="Base models"):  # fmt: skip
            for model in found:
                _model(visit, model)
        term("Memory to tune", MEANINGS["tuning"])
    if visit.may("editor"):
        _another(visit)


def _model(visit: Visit, model: BaseModel) -> None:
    with cells(model.ref, model.summary):
        with ui.element("td"):
            badge(*(("here", "good") if model.ready else ("not fetched", "")))
        text(size(model.disk_bytes), "number", "td")
        text(model.licence or "unknown", tag="td")
        takes = "never" if model.tuning_bytes is None else f"about {size(model.tuning_bytes)}"
        text(takes, "number", "td")
        with ui.element("td"), row("acts"):
            if model.ready:
                look = button("Look", lambda: _look(visit, model.ref), kind="link")
                labelled(look, f"Look at {model.ref}")
            elif visit.may("editor"):
                fetch = button("Fetch", lambda: _fetch(visit, model.ref), kind="link")
                labelled(fetch, f"Fetch {model.ref}")


def _another(visit: Visit) -> None:
    with card():
        heading(
            "Fetch another model",
            "Safetensors and GGUF alone: other weights can run code when they are opened, and are "
            "refused.",
        )
        with row("ask"):
            ref = ui.input(placeholder="org/name")
            named(ref, "Model to fetch")

            async def go() -> None:
                await _fetch(visit, (ref.value or "").strip())

            ref.on("keydown.enter", go)
            button("Fetch", go, kind="primary", icon="download")
        text(
            "An id of the Hugging Face hub. A folder or GGUF file on the server's machine is named "
            "at the command line.",
            "hint",
            "div",
        )


async def _fetch(visit: Visit, ref: str) -> None:
    with telling():
        await visit.do(pull, ref)
        _again()


def _again() -> None:
    ui.navigate.to(PATH)


async def _look(visit: Visit, ref: str) -> None:
    with ui.dialog(value=True) as dialog, ui.card().classes("studio wide-dialog"):
        heading(ref)
        loading = waiting("Reading it")
        try:
            found = await visit.do(describe, ref)
        except AssayError as error:
            loading.delete()
            failure(error)
        else:
            loading.delete()
            with table("What", "Is", label=f"Facts of {ref}"):
                line("Architecture", found.architecture)
                line("Parameters", f"{found.parameters:,}")
                line("Context", f"{found.context_length:,} tokens")
                line("On disk", size(found.disk_bytes))
                line("Licence", found.licence or "unknown")
                line("Weights (sha256)", found.sha256)
                line("Chat template (sha256)", found.template_sha256 or "none: a base model")
        with row():
            button("Close", dialog.close)
    await dialog
    put_away(dialog)


PAGE = Page(PATH, "Models", "view_in_ar", "Build", "viewer", build)
