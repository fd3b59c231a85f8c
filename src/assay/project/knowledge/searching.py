"""Which releases search a knowledge base, and whether agents were measured on what it holds now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from assay.agent.agent import Knowledge
from assay.agent.routing import leaves
from assay.agent.versions import load_agent
from assay.errors import AssayError, NotFoundError
from assay.knowledge.records import COPY
from assay.project.knowledge import documents
from assay.project.workspace import Workspace
from assay.release.releases import releases


def find_releases(workspace: Workspace, base: str) -> list[str]:
    """Names of the releases whose agent or canary, or an arm of either, searches a knowledge base
    or a copy of it: what is removed there is removed from its copies."""

    def searches_it(agents: Iterable[str | None]) -> bool:
        return any(one.name.partition(COPY)[0] == base for one in _searches(workspace, agents))

    return [
        release.name
        for release in releases(workspace.store, workspace.name)
        if searches_it((release.agent, release.canary))
    ]


def has_other_documents(workspace: Workspace, agents: Iterable[str]) -> bool:
    """Whether agents (ids) were built on another state of a knowledge base than the present one:
    other documents, or other passages of them.

    Of an agent that searches by an embedder of its own, and of one that is gone, it is not known.
    """
    for searched in _searches(workspace, agents):
        if searched.snapshot is None or searched.embedder is not None:
            continue
        try:
            if documents.base(workspace, searched.name).snapshot != searched.snapshot:
                return True
        except NotFoundError:
            return True
    return False


def _searches(workspace: Workspace, agents: Iterable[str | None]) -> Iterator[Knowledge]:
    """What agents search, the arms of their routes included."""
    store = workspace.store
    for id in agents:
        if id is None:
            continue
        try:
            found = leaves(load_agent(store, id), store)
        except AssayError:  # one that is gone, or whose route leads nowhere, searches nothing
            continue
        for agent in found.values():
            if agent.knowledge is not None:
                yield agent.knowledge
