"""Exports for other programs: a version in its forms, a classifier as ONNX."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from assay.agent import edits
from assay.agent.agent import Agent
from assay.agent.versions import load_agent
from assay.errors import ModelError, Step
from assay.generate.embedding_classifier import SCHEME
from assay.progress import Progress
from assay.release import releases
from assay.release.forms import ONNX, VersionForm, check_form
from assay.store.store import Store

if TYPE_CHECKING:
    from assay.project.project import Project
    from assay.release.classifier_export import ClassifierExport
    from assay.release.export import ModelExport

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def export(
    project: Project, name: str, to: str, out: Path | None, progress: Progress
) -> ModelExport | ClassifierExport:
    """Write what a name stands for in a form, as `Project.export` says."""
    form = check_form(to)
    if form == ONNX:
        return _classifier(project, name, out, progress)
    return export_version(project, name, form, out, progress)


def export_version(
    project: Project, name: str, form: VersionForm, out: Path | None, progress: Progress
) -> ModelExport:
    """Write a version in a form, as `Project.export` says."""
    from assay.models.versions import load_version
    from assay.release.export import export

    found, context = load_version(project.store, name), project.context(progress)
    model, prompt = f"version:{found.id}", context.training_prompt
    return export(
        found,
        form,
        out or Path(f"{found.id[:12]}-{form}"),
        bench=context.bench,
        agent=context.chat_agent(model=model, system_prompt=prompt),
        validation=context.validation,
    )


def _classifier(
    project: Project, name: str, out: Path | None, progress: Progress
) -> ClassifierExport:
    label, agent = find_classifier(project.store, project.owner, name)
    from assay.release.classifier_export import export_classifier  # loads torch

    context = project.context(progress)
    target = out or Path(f"{file_name(label)}-{ONNX}")
    return export_classifier(
        label, agent, target, bench=context.bench, validation=context.validation
    )


def file_name(label: str) -> str:
    """A name for files of an agent, `NAME-VERSION`, of letters that every system takes."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._") else "-" for c in label)


def find_classifier(store: Store, owner: str, name: str) -> tuple[str, Agent]:
    """The agent that can be written as ONNX, with its `NAME@VERSION`.

    Args:
        owner: name of the project.
        name: a release, or `NAME@VERSION`; NAME alone is the newest.

    Raises:
        NotFoundError: there is none.
        ModelError: it is no classifier over an embedder, or a package is missing.
    """
    if (release := releases.newest(store, owner, name)) is not None:
        label, agent = release.label, load_agent(store, release.agent)
    else:
        draft = edits.read_version(store, name)
        label, agent = draft.version.label, draft.agent
    if not agent.model.startswith(SCHEME):
        raise ModelError(
            f"{label} is not a classifier over an embedder; only these can be exported as {ONNX}.",
            fix="Name an agent of the candidates `classifier`, `encoder` or `encoder-pairs`. To "
            "export a fine-tuned model, give the id of its version "
            f"({Step.LIST_VERSIONS}) and {Step.EXPORT_AS}.",
        )
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise ModelError(
            f"{', '.join(missing)} is not installed, and ONNX files need it.",
            fix="Install it with `pip install 'assay[onnx]'`.",
        )
    return label, agent


def classifiers(store: Store) -> list[str]:
    """`NAME@VERSION` of the newest version of every agent that can be written as ONNX."""
    return [
        one.label
        for one in edits.newest(store)
        if load_agent(store, one.agent).model.startswith(SCHEME)
    ]
