"""Agents that were saved before, as candidates of a new comparison."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from assay.agent.agent import Agent, messages_of
from assay.agent.learned import load_router
from assay.agent.route import LearnedRoute, Rules
from assay.agent.routing import arm, leaves
from assay.agent.versions import AgentVersion, load_agent
from assay.candidates.building import Candidate
from assay.candidates.registry import title_of
from assay.compare.holdout import rows_held_out
from assay.errors import HoldoutError, UsageError
from assay.evaluate.measure import Bench
from assay.example import Example, load_examples
from assay.generate.classical import ClassicalModel, load_classical
from assay.generate.embedding_classifier import EmbeddingClassifier, load_embedding_classifier
from assay.generate.extraction import ExtractModel, load_extract
from assay.generate.nearest import NearestModel, load_nearest
from assay.models.lineage import rows_of, rows_seen
from assay.models.versions import find_version, version_id
from assay.store.store import Store

_Fitted = NearestModel | ExtractModel | EmbeddingClassifier | ClassicalModel
_MADE_OF_ROWS: Mapping[str, Callable[[bytes], _Fitted]] = {
    "classical": load_classical,
    "embedded": load_embedding_classifier,
    "nearest": load_nearest,
    "extract": load_extract,
}
"""Models that know their rows, by scheme, and what reads them."""


def load_saved(
    versions: Sequence[AgentVersion],
    split: Path,
    holdout: str,
    store: Store,
    *,
    taken: Collection[str] = (),
) -> list[tuple[AgentVersion, Agent]]:
    """Load saved agents, or refuse those that must not take part.

    Args:
        split, holdout: folder of the split, and what its holdout was locked with.
        taken: names of other candidates.

    Raises:
        UsageError: an agent is a file of answers, or its name is taken.
        HoldoutError: an agent was made of rows that are now in the holdout.
    """
    found = [(version, load_agent(store, version.agent)) for version in versions]
    for version, agent in found:
        if agent.kind == "outside":
            raise UsageError(
                f"{version.label} is a file of answers, which cannot answer new questions.",
                fix="Name another agent, or bring the answers with --predictions.",
            )
        if _name(version) in taken:
            raise UsageError(f"{_name(version)!r} would be the name of two candidates.")
        refuse_leak(version.label, agent, split, holdout, store)
    return found


def _name(version: AgentVersion) -> str:
    return f"{version.name}-{version.version}"


def as_candidates(
    saved: Sequence[tuple[AgentVersion, Agent]],
    built: Sequence[Candidate],
    validation: tuple[Example, ...],
    bench: Bench,
) -> list[Candidate]:
    """Saved agents as candidates named `NAME-VERSION`; those that were built again are left out.

    What they cost to make is spent, so no set-up is counted; what they cost to keep is.
    """
    known = {candidate.agent.id for candidate in built}
    judged = [example for example in validation if example.liked]
    found = []
    for version, agent in saved:
        if agent.id in known:
            bench.progress.say(f"{version.label} is among the candidates already.")
            continue
        known.add(agent.id)
        bench.progress.say(f"Candidate {_name(version)}")
        asked = leaves(agent, bench.store).values()
        tuned = any(version_id(one.model) is not None for one in asked)
        kept_up = tuned or any(one.kind == "classical" for one in asked)
        found.append(
            Candidate(
                name=_name(version),
                kind=version.name,
                title=title_of(version.name) or "an agent that was saved before",
                agent=agent,
                tried=(),
                scores=tuple(bench.measure(agent, judged).primary_scores),
                fine_tuned=tuned,
                curated=kept_up,
                retrained=kept_up,
                arms=_arms(agent, bench.store),
            )
        )
    return found


def _arms(agent: Agent, store: Store) -> dict[str, Candidate]:
    """The agents that a route asks, by id; under what name they were saved is not asked."""
    ids = () if agent.route is None else agent.route.arms
    made = {id: arm(store, id) for id in ids}
    return {
        id: Candidate(name=id[:12], kind=one.kind, agent=one, tried=(), scores=())
        for id, one in made.items()
    }


def refuse_leak(label: str, agent: Agent, split: Path, holdout: str, store: Store) -> None:
    """Refuse an agent that was made of rows that are now in the holdout, or has such an arm.

    Raises:
        HoldoutError: it was.
    """
    leaked = rows_held_out(split, holdout, set(_rows(agent, store)))
    if leaked:
        raise HoldoutError(
            f"{label} was made of {leaked} rows that are in the holdout now; what it scores there "
            "would be its memory.",
            fix="Leave it out, or start afresh with `assay data renew-holdout FILE`.",
        )


def _rows(agent: Agent, store: Store) -> Iterator[str]:
    """Hashes of the rows that an agent was made of, as far as they are known."""
    if agent.route is not None:
        if isinstance(agent.route, LearnedRoute):
            yield from load_router(store.get(agent.route.model)).rows
        if isinstance(agent.route, Rules) and agent.route.classifier is not None:
            yield from _rows_of("classical", agent.route.classifier, store)
        for id in agent.route.arms:
            yield from _rows(arm(store, id), store)
        return
    if (named := version_id(agent.model)) is not None:
        version = find_version(store.folder, named)
        for data in rows_seen(version).values():
            yield from rows_of(store, data) or ()
    scheme, _, blob = agent.model.partition(":")
    if scheme in _MADE_OF_ROWS:
        yield from _rows_of(scheme, blob, store)
    if agent.nearest is not None:
        for example in load_examples(store.get(agent.nearest.pool)):
            yield example.content_hash()
    for shown in agent.shown:
        yield Example("shown", messages_of(shown)).content_hash()


def _rows_of(scheme: str, blob: str, store: Store) -> list[str]:
    rows = _MADE_OF_ROWS[scheme](store.get(blob)).rows
    return [] if rows is None else rows_of(store, rows) or []
