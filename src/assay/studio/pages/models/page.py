"""Models: what can be built on, what was trained from it, and how a version leaves the house."""

from __future__ import annotations

from nicegui import ui

from assay.jobs.queue import OVER, Job
from assay.models.show import ModelInfo
from assay.project import models
from assay.project.models import BaseModel
from assay.studio import widgets as w
from assay.studio.dialogs import query_row, show_record
from assay.studio.frame import Page
from assay.studio.pages.models.versions import versions_tab
from assay.studio.session import PageContext, action, workspace_action
from assay.studio.shared.job_progress import JobCard, job_error
from assay.studio.words import format_size

PATH = "/models"
PARTS = {"models": "Base models", "versions": "Versions"}
MEANINGS = {
    "tuning": (
        "The approximate minimum for training an adapter on the model; long rows need more. The "
        "exact need of your training is calculated before it starts."
    ),
}


@action("viewer")
def list_models(context: PageContext) -> tuple[list[BaseModel], list[Job]]:
    """The base models, and the jobs that fetch some, the newest first."""
    return models.list_base_models(), models.pulls(context.workspace)


@action("viewer")
def describe_model(context: PageContext, ref: str) -> ModelInfo:
    """All there is to say about a model that is on this machine."""
    return models.describe(ref)


pull_model = workspace_action("editor", models.pull)


async def build(context: PageContext) -> None:
    """One tab a part; `?part=` names the first to be seen."""
    wanted = ui.context.client.request.query_params.get("part", "models")
    w.title(
        "Models",
        "Base models are starting points; versions are models trained from them on your examples.",
    )
    panels = w.tab_panels(PARTS, wanted)
    with panels["models"]:
        await _show_base_models(context)
    with panels["versions"]:
        await versions_tab(context)


async def _show_base_models(context: PageContext) -> None:
    found, pulls = await context.do(list_models)
    for job in pulls:
        if job.status not in OVER:
            JobCard(context, job, f"Pulling {job.payload['model']}", lambda _: _reload())
    if pulls and pulls[0].status == "failed":
        with w.section(f"{pulls[0].payload['model']} could not be pulled", style="lost"):
            w.text(job_error(pulls[0]), "pre")
    with w.section(
        "Base models",
        "Starter models, which come from your package index, and models that were pulled "
        "(downloaded) to this machine.",
    ):
        with w.table("Model", "Description", "State", w.Number("Size"), "Licence",
                   w.Number("Memory to fine-tune"), "", label="Base models"):  # fmt: skip
            for model in found:
                _show_model(context, model)
        w.term("What the memory to fine-tune is", MEANINGS["tuning"])
    if context.may("editor"):
        _show_pull_form(context)


def _show_model(context: PageContext, model: BaseModel) -> None:
    with w.cells(model.ref, model.summary):
        with ui.element("td"):
            w.badge(*(("ready", "good") if model.ready else ("not pulled", "")))
        w.text(format_size(model.disk_bytes), "number", "td")
        w.text(model.licence or "unknown", tag="td")
        takes = (
            "not trainable"
            if model.tuning_bytes is None
            else f"about {format_size(model.tuning_bytes)}"
        )
        w.text(takes, "number", "td")
        with w.cell("acts"):
            if model.ready:
                w.button(
                    "View",
                    lambda: _show_facts(context, model.ref),
                    kind="link",
                    name=f"View {model.ref}",
                )
            elif context.may("editor"):
                w.button(
                    "Pull",
                    lambda: _start_pull(context, model.ref),
                    kind="link",
                    name=f"Pull {model.ref}",
                )


def _show_pull_form(context: PageContext) -> None:
    with w.section(
        "Pull another model",
        "Only Safetensors and GGUF: other formats can run code when they are opened, and are "
        "refused.",
    ):

        async def pull(ref: str) -> None:
            await _start_pull(context, ref)

        query_row(
            "Model to pull",
            "Pull",
            "download",
            pull,
            placeholder="org/name",
        )
        w.text(
            "The name of a model at huggingface.co, such as Qwen/Qwen3-0.6B. To use a folder or "
            "GGUF file on the server, name it on the command line.",
            "hint",
            "div",
        )


async def _start_pull(context: PageContext, ref: str) -> None:
    await context.do(pull_model, ref)
    _reload()


def _reload() -> None:
    ui.navigate.to(PATH)


async def _show_facts(context: PageContext, ref: str) -> None:
    def show(found: ModelInfo) -> None:
        with w.table("Property", "Value", label=f"Properties of {ref}"):
            w.line("Architecture", found.architecture)
            w.line("Parameters", f"{found.parameters:,}")
            w.line("Context length", f"{found.context_length:,} tokens")
            w.line("Size on disk", format_size(found.disk_bytes))
            w.line("Licence", found.licence or "unknown")
            w.line("Weights (sha256)", found.sha256)
            w.line("Chat template (sha256)", found.template_sha256 or "none: not a chat model")

    await show_record(ref, "Reading the model", context.do(describe_model, ref), show)


PAGE = Page(PATH, "Models", "view_in_ar", "Build", "viewer", build)
