"""Labels of the random sample: what fresh answers are worth, in the order they were given.

Users correct what went wrong, so what they say cannot measure how much goes wrong. Here a random
sample is labelled instead, strictly in its order: the next one or none, so that nobody labels the
interesting ones first. What cannot be judged is skipped in the open, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError

from assay.errors import Step, UsageError
from assay.release.traces import Thumb, Trace, as_trace, attach, correction, prune, trace
from assay.store.store import Store
from assay.store.tables import TraceLabelRow, TraceRow


@dataclass(frozen=True, slots=True)
class Labels:
    """Of the random sample of one release and agent.

    Attributes:
        scores: 0 to 1, in the order the traces came.
        skipped: traces that nobody could judge.
        waiting: traces of the sample without a label.
    """

    scores: tuple[float, ...]
    skipped: int
    waiting: int


def next_to_label(store: Store, project: str, release: str, agent: str) -> Trace | None:
    """The oldest trace of the sample without a label; None: all have one."""
    wanted = _waiting(project, release, agent).order_by(TraceRow.key).limit(1)
    prune(store, project)
    with store.session() as session:
        row = session.scalar(wanted)
        return None if row is None else as_trace(row)


def label(
    store: Store,
    project: str,
    id: str,
    score: float | None,
    *,
    who: str,
    thumb: Thumb | None = None,
    corrected: str | None = None,
) -> None:
    """Say what the answer of a trace is worth; None: it cannot be told. It is said once.

    Args:
        thumb, corrected: of `assay.release.traces.feedback`, kept together with the label or, like
            it, not at all.

    Raises:
        NoTraceError: there is no such trace, or it was deleted at the same moment.
        UsageError: it is not of the sample, has a label, or another one comes first; or there is
            something wrong with the corrected answer.
    """
    right = None if corrected is None else correction(corrected)
    if score is not None and not 0 <= score <= 1:
        raise UsageError(f"{score:g} is not a score.", fix="Give a number from 0 to 1.")
    found = trace(store, project, id)
    if not found.sampled:
        raise UsageError(
            f"{id} is not in the random sample, so its label cannot be used for the test.",
            fix=f"{Step.JUDGE_NEXT.of(found.release)}, or {Step.JUDGE}.",
        )
    first = next_to_label(store, project, found.release, found.agent)
    if first is None or first.id != id:
        fix = "Nothing is left to label." if first is None else f"The next is {first.id}."
        raise UsageError(f"{id} is not the next trace to label; the order is fixed.", fix=fix)
    row = TraceLabelRow(
        trace=id,
        project=project,
        release=found.release,
        agent=found.agent,
        score=score,
        who=who,
    )
    try:
        with store.session() as session:
            attach(store, session, project, id, thumb, right)
            session.add(row)
    except IntegrityError:
        raise UsageError(f"{id} was labelled by another person at the same moment.") from None


def labels(store: Store, project: str, release: str, agent: str) -> Labels:
    """All labels of a release's agent, and how many are still to come."""
    mine = (
        (TraceLabelRow.project == project)
        & (TraceLabelRow.release == release)
        & (TraceLabelRow.agent == agent)
    )
    with store.session() as session:
        said = session.scalars(
            select(TraceLabelRow.score).where(mine).order_by(TraceLabelRow.key)
        ).all()
        waiting = session.scalar(
            select(func.count()).select_from(_waiting(project, release, agent).subquery())
        )
    scores = tuple(score for score in said if score is not None)
    return Labels(scores, len(said) - len(scores), waiting or 0)


def _waiting(project: str, release: str, agent: str) -> Select[TraceRow]:
    labelled = select(TraceLabelRow.trace).where(TraceLabelRow.trace == TraceRow.id)
    return select(TraceRow).where(
        TraceRow.project == project,
        TraceRow.release == release,
        TraceRow.agent == agent,
        TraceRow.sampled,
        ~labelled.exists(),
    )
