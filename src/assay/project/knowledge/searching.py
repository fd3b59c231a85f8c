"""Which releases search a knowledge base, and whether agents were measured on what it holds now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from assay.agent.agent import Knowledge
from assay.agent.routing import leaves
from assay.agent.versions import load_agent
from assay.errors import AssayError, NotFoundError
from assay.knowledge.records import COPY, snapshot_of
from assay.project.knowledge import documents
from assay.project.workspace import Workspace
from assay.release.releases import releases


def find_releases(workspace: Workspace, base: str) -> list[str]:
    """Names of the releases whose agent or canary, or an arm of either, searches a knowledge base
    or a copy of it: what is removed there is removed from its copies."""

    return _name_releases(workspace, base, lambda searched: True)


def find_releases_behind(workspace: Workspace, base: str) -> list[str]:
    """Those of `find_releases` that search other documents than the present ones, or other passages
    of them: those that they were measured with, as long as that state is kept."""
    return _name_releases(
        workspace,
        base,
        lambda searched: (
            _is_of_other_documents(workspace, searched)
            and documents.base(workspace, searched.name).has_snapshot(searched.snapshot or "")
        ),
    )


def has_other_documents(workspace: Workspace, agents: Iterable[str]) -> bool:
    """Whether agents (ids) were built on another state of a knowledge base than the present one:
    other documents, or other passages of them.

    Of an agent that searches by an embedder of its own, and of one that is gone, it is not known.
    """
    return any(_is_of_other_documents(workspace, one) for one in _searches(workspace, agents))


def _is_of_other_documents(workspace: Workspace, searched: Knowledge) -> bool:
    if searched.snapshot is None or searched.embedder is not None:
        return False
    try:
        settings = documents.base(workspace, searched.name).settings
        present = documents.base(workspace, searched.name.partition(COPY)[0]).documents()
    except NotFoundError:
        return True
    # Of a copy, too: it is not changed with its base until it is searched by a comparison again.
    return snapshot_of(settings, present) != searched.snapshot


def _name_releases(workspace: Workspace, base: str, fits: Callable[[Knowledge], bool]) -> list[str]:
    def searches_it(agents: Iterable[str | None]) -> bool:
        return any(
            one.name.partition(COPY)[0] == base and fits(one)
            for one in _searches(workspace, agents)
        )

    return [
        release.name
        for release in releases(workspace.store, workspace.name)
        if searches_it((release.agent, release.canary))
    ]


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
