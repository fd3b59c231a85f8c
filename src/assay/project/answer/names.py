"""Which model a name stands for, and who may use it.

A name is, in this order: a release; a name the project was given (`ft:...`); an agent version
(`NAME@N`, or an agent's id); a fine-tuned version (`version:ID`, or its id alone); a base model
that is on this machine. Agents belong to the project that the folder is; a version to the projects
that have a name for it, or, without one, to that of the job that trained it, or else to the
folder's; a provider's model (`remote:PROVIDER/MODEL`) to the folder's. Everything else is not
there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select

from assay.agent.agent import Agent
from assay.agent.answering import Target
from assay.agent.versions import load_agent
from assay.config import REMOTE, is_remote, split_reference
from assay.errors import AssayError, ModelError, Step
from assay.models.catalogue import CATALOGUE
from assay.models.show import list_models
from assay.models.versions import find_version, full_id, list_versions
from assay.release import releases
from assay.store.tables import AgentVersionRow, FineTuningRow, ServedNameRow

if TYPE_CHECKING:
    from assay.project.workspace import Workspace

_AGENT_VERSION = re.compile(r"(.{1,100})@([1-9][0-9]{0,8})", re.DOTALL)
_ID = re.compile(r"[0-9a-f]{12,64}")


class UnknownModelError(ModelError):
    """No model of that name can be used by this project."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A line of the list of models. `created` is None where no time is known."""

    name: str
    kind: Literal["release", "agent", "version", "base", "embedder"]
    created: datetime | None = None


def resolve(workspace: Workspace, name: str, project: str, key_id: str) -> Target:
    """What a request to `name` is answered by.

    Raises:
        UnknownModelError: there is no such name, or it is another project's.
    """
    if is_remote(name) and project == workspace.name:  # no release can be called so
        provider, _ = split_reference(name)
        if provider in workspace.providers:
            known = name in _named(workspace, provider)
            return Target(name, name, known_as=name if known else f"{REMOTE}{provider}/other")
    released = releases.resolve(workspace.store, project, name, key_id)
    if released is not None:
        agent = load_agent(workspace.store, released)
        return Target(name, agent.model, agent)
    # Only a release can be called as a starter is, so nothing more is asked of the database.
    if name in CATALOGUE and CATALOGUE[name].kind == "chat":
        return Target(name, name)
    with workspace.store.session() as session:
        target = session.scalar(
            select(ServedNameRow.target).where(
                ServedNameRow.name == name, ServedNameRow.project == project
            )
        )
    if target is not None:
        return Target(name, target)
    if project == workspace.name and (saved := _agent(workspace, name)):
        if saved.kind == "outside":
            raise UnknownModelError(
                f"{name} contains stored answers and cannot answer new questions."
            )
        return Target(name, saved.model, saved)
    version = _version(workspace, name, project)
    if version is not None:
        whole = f"version:{version}"
        return Target(name, whole, known_as=whole)  # the first digits of its id are enough
    if name in base_models(workspace, project):
        return Target(name, name)
    raise UnknownModelError(
        f"The model '{name}' does not exist or you do not have access to it.",
        fix="GET /v1/models lists the available models.",
    )


def _named(workspace: Workspace, provider: str) -> set[str]:
    """The models of a provider that the folder's settings name."""
    found = {f"{REMOTE}{provider}/{model}" for model in workspace.providers[provider].prices}
    if (config := workspace.config) is not None:
        found |= {config.model, *config.fallback}
        found |= {name for chain in config.fallback.values() for name in chain}
        found |= {config.remote} if config.remote is not None else set()
    return found


def model_entries(workspace: Workspace, project: str) -> list[ModelEntry]:
    """Every name that `resolve` knows for a project (ids left out), and the embedders."""
    lines = [
        ModelEntry(release.name, "release", release.at)
        for release in releases.releases(workspace.store, project)
    ]
    with workspace.store.session() as session:
        named = session.scalars(select(ServedNameRow).order_by(ServedNameRow.at)).all()
        agents = session.scalars(
            select(AgentVersionRow).order_by(AgentVersionRow.name, AgentVersionRow.version)
        ).all()
    lines += [ModelEntry(row.name, "version", row.at) for row in named if row.project == project]
    if project == workspace.name:
        lines += [ModelEntry(f"{row.name}@{row.version}", "agent", row.at) for row in agents]
        taken, trainers = {row.target for row in named}, _trainers(workspace) - {project}
        for version in list_versions(workspace.store):
            reference = f"version:{version.id}"
            if reference not in taken and version.owner not in trainers:
                saved = datetime.fromisoformat(version.saved_at)
                lines.append(ModelEntry(reference, "version", saved))
    lines += [ModelEntry(name, "base") for name in base_models(workspace, project)]
    lines += [ModelEntry(name, "embedder") for name in embedders()]
    return lines


def base_models(workspace: Workspace, project: str) -> list[str]:
    """Models that answer as they are: the starters, what was pulled, and the project's own.

    A name out of a request never fetches a model and never opens a path.
    """
    names = [line.ref for line in list_models() if line.kind == "chat" and _by_name(line.ref)]
    if workspace.config is not None and project == workspace.name:
        names.append(workspace.config.model)
    return list(dict.fromkeys(names))


def embedders() -> list[str]:
    """Models that turn texts into vectors."""
    return [name for name, entry in CATALOGUE.items() if entry.kind == "embedder"]


def _by_name(ref: str) -> bool:
    return ref in CATALOGUE or "/" in ref


def _agent(workspace: Workspace, name: str) -> Agent | None:
    id = name if _ID.fullmatch(name) else None
    if found := _AGENT_VERSION.fullmatch(name):
        with workspace.store.session() as session:
            id = session.scalar(
                select(AgentVersionRow.agent).where(
                    AgentVersionRow.name == found[1], AgentVersionRow.version == int(found[2])
                )
            )
    if id is None:
        return None
    try:
        return load_agent(workspace.store, id)
    except AssayError:
        return None


def _version(workspace: Workspace, name: str, project: str) -> str | None:
    try:
        id = full_id(workspace.store, name.removeprefix("version:"))
    except ModelError:
        return None
    return id if owns(workspace, id, project) else None


def owns(workspace: Workspace, version: str, project: str) -> bool:
    """Whether a version is a project's: it trained it, or it is the folder's own."""
    with workspace.store.session() as session:
        owners = session.scalars(
            select(ServedNameRow.project).where(ServedNameRow.target == f"version:{version}")
        ).all()
    if owners:
        return project in owners
    try:  # its job has kept it and not named it yet, or nobody will
        owner = find_version(workspace.store, version).owner
    except ModelError:  # a damaged one, which cannot be loaded either
        owner = None
    return project == (owner if owner in _trainers(workspace) else workspace.name)


def own(workspace: Workspace, id: str) -> str:
    """The whole id of a version of the folder's project, from its first digits.

    Raises:
        ModelError: there is none; another project's is not there.
    """
    found = full_id(workspace.store, id)
    if not owns(workspace, found, workspace.name):
        raise ModelError(f"there is no version {id!r}.", fix=f"{Step.LIST_VERSIONS} shows them.")
    return found


def _trainers(workspace: Workspace) -> set[str]:
    """The projects that train here; a version of another was copied here, and is the folder's."""
    with workspace.store.session() as session:
        return set(session.scalars(select(FineTuningRow.project).distinct()))
