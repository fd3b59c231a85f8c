"""What a comparison searches is kept as it is for it: the states of knowledge bases, by a pin.

A job's pin is its own: kept when the comparison is requested, let go when the job is over. A call
that is no job keeps them until it returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from assay.agent.agent import Knowledge
from assay.agent.passages import knowledge_base
from assay.agent.routing import leaves
from assay.agent.versions import AgentVersion, load_agent
from assay.candidates.registry import needs_documents
from assay.errors import AssayError, NotFoundError
from assay.knowledge import pins
from assay.knowledge.fixed_base import FixedBase
from assay.store.store import Store

if TYPE_CHECKING:
    from assay.project.project import Project


def pin_of(job: str) -> str:
    """The pin of a job, by its id."""
    return job.rpartition("-")[2]


def keep_by(pin: str, project: Project, saved: Iterable[AgentVersion]) -> None:
    """Keep what the candidates of a comparison would search now; what is kept stays as it is.

    Args:
        saved: agents that take part beside the candidates.
    """
    store, owner, config = project.store, project.owner, project.config
    if config.knowledge is not None:
        base = FixedBase(store, owner, config.knowledge.name, pin)
        with suppress(NotFoundError):
            if not needs_documents(config):
                base.documents()  # one that is not there is not made
            base.keep()
    for searched in _searches(store, saved):
        found = knowledge_base(store, owner, searched.name, searched.embedder, pin)
        assert isinstance(found, FixedBase)
        with suppress(NotFoundError):
            found.documents()
            found.keep()
            if searched.snapshot is not None:
                found.fix_snapshot(searched.snapshot)


@contextmanager
def keep_documents(project: Project, saved: Iterable[AgentVersion]) -> Iterator[str]:
    """The pin of what a comparison searches: its job's, or one until the block ends."""
    if project.pin is not None:
        yield project.pin
        return
    pins.unpin_left(project.store)
    with pins.of_process(project.store) as pin:
        keep_by(pin, project, saved)
        yield pin


def _searches(store: Store, saved: Iterable[AgentVersion]) -> Iterator[Knowledge]:
    for version in saved:
        with suppress(AssayError):  # it is refused where it is to take part
            for agent in leaves(load_agent(store, version.agent), store).values():
                if agent.knowledge is not None:
                    yield agent.knowledge
