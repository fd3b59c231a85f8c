"""Agents that were saved before, as candidates of a new comparison."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from assay.agent.agent import Agent
from assay.agent.lineage import (
    inputs_shown,
    is_made_of_many_rows,
    is_retrained,
    is_tuned,
    rows_behind,
)
from assay.agent.routing import arm
from assay.agent.versions import AgentVersion, load_agent
from assay.candidates.building import Candidate
from assay.candidates.registry import title_of
from assay.compare.holdout import asks_any, is_program, rows_held_out
from assay.errors import HoldoutError, Step, UsageError
from assay.evaluate.measure import Bench
from assay.example import Example
from assay.quantities import say_count
from assay.store import audit
from assay.store.store import Store


def load_saved(
    versions: Sequence[AgentVersion],
    store: Store,
    refuse: Callable[[str, Agent], None],
    *,
    taken: Collection[str] = (),
) -> list[tuple[AgentVersion, Agent]]:
    """Load saved agents, or refuse those that must not take part.

    Args:
        refuse: raises where an agent (with its label) must not be measured on the holdout.
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
                fix="Name another agent, or provide its answers with --predictions.",
            )
        if _name(version) in taken:
            raise UsageError(f"{_name(version)!r} would be the name of two candidates.")
        refuse(version.label, agent)
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

    The machine time that made them is spent and not counted; what they cost to keep is, and the
    rows they are made of.
    """
    known = {candidate.agent.id for candidate in built}
    judged = [example for example in validation if example.liked]
    found = []
    for version, agent in saved:
        if agent.id in known:
            bench.progress.say(f"{version.label} is already one of the candidates.")
            continue
        known.add(agent.id)
        bench.progress.say(f"Candidate {_name(version)}")
        found.append(
            Candidate(
                name=_name(version),
                kind=version.name,
                title=title_of(version.name) or "an agent that was saved earlier",
                agent=agent,
                tried=(),
                scores=tuple(bench.measure(agent, judged).primary_scores),
                fine_tuned=is_tuned(agent, bench.store),
                curated=is_made_of_many_rows(agent, bench.store),
                retrained=is_retrained(agent, bench.store),
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


def refuse_leak(
    store: Store,
    split: Path,
    holdout: str,
    project: str,
    who: str | None,
    label: str,
    agent: Agent,
) -> None:
    """Refuse an agent that was made of rows that are now in the holdout, or has such an arm.

    A program is told neither how many nor whether their answers are right, which it could ask again
    and again without an opening: whatever shows an input of the holdout is refused, and that is
    audited.

    Args:
        split, holdout: folder of the split, and what its holdout was locked with.
        project, who: for the audit log; who asks.

    Raises:
        HoldoutError: it was.
    """
    leaked = rows_held_out(split, holdout, set(rows_behind(agent, store)))
    fix = f"Leave it out, or start afresh with {Step.RENEW_HOLDOUT}."
    if is_program(who) and (leaked or asks_any(split, holdout, set(inputs_shown(agent, store)))):
        audit.audit(store, project, str(who), "holdout.refuse", label, {"holdout": holdout})
        raise HoldoutError(
            f"{label} shows inputs of the holdout, or was made from its rows; its score there "
            "would come from memory.",
            fix=fix,
        )
    if leaked:
        rows = say_count(leaked, "row that is", "rows that are")
        raise HoldoutError(
            f"{label} was made from {rows} now in the holdout; its score there "
            "would come from memory.",
            fix=fix,
        )
