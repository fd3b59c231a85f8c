"""Releases, traces and watching of a workspace: what the command line calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.agent.agent import Agent
from assay.agent.routing import leaves
from assay.agent.versions import find_version
from assay.compare.naming import verdict_in_words
from assay.compare.records import load_result, load_results
from assay.compare.report import wording
from assay.compare.scale import scale_of
from assay.config import is_remote
from assay.data.calls import turn_of
from assay.errors import NotFoundError, StateError, Step, UsageError
from assay.example import Example, Message
from assay.generate.stream import EnginePool
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.versions import version_bits
from assay.progress import SILENT, Progress
from assay.project.releases.consent import require_consent
from assay.project.releases.correction_check import check_correction
from assay.project.workspace import Workspace
from assay.release import changes, examples, labels, policies, releases, traces, watch
from assay.release.changes import Parity
from assay.release.evidence import UnprovenError, judge
from assay.release.releases import Release
from assay.release.traces import Thumb, Trace
from assay.release.watch import WatchReport

MOST_TO_DATA = 100_000


@dataclass(frozen=True, slots=True)
class Author:
    """On whose behalf something is done.

    Attributes:
        project: whose releases and traces these are.
        who: for the log: the id of an API key, or `cli:USER`.
    """

    project: str
    who: str


def _by(workspace: Workspace, by: Author | None) -> Author:
    return by or Author(workspace.name, workspace.who)


def promote(
    workspace: Workspace,
    name: str,
    label: str,
    *,
    force: str | None = None,
    consent: Sequence[str] = (),
    by: Author | None = None,
    engines: EnginePool | None = None,
    progress: Progress = SILENT,
) -> Release:
    """Point a release at an agent, see `assay.release.changes.promote` and `_gate`.

    Args:
        consent: providers that users' requests may be sent to, from now on.
        by: None: the folder's own project, at the command line.
        engines: that serve, for the gate; None: such as would serve this folder.
    """
    by = _by(workspace, by)
    _check_owner(workspace, by, label)
    return changes.promote(
        workspace.store,
        by.project,
        name,
        label,
        who=by.who,
        force=force,
        leaving=require_consent(workspace, name, consent, by.who),
        parity=_gate(workspace, engines, progress),
    )


def canary(
    workspace: Workspace,
    name: str,
    share: float,
    label: str | None = None,
    *,
    force: str | None = None,
    consent: Sequence[str] = (),
    by: Author | None = None,
    engines: EnginePool | None = None,
    progress: Progress = SILENT,
) -> Release:
    """Give an agent a share of a release's keys, see `promote` and `changes.canary`."""
    by = _by(workspace, by)
    if label is not None:
        _check_owner(workspace, by, label)
    return changes.canary(
        workspace.store,
        by.project,
        name,
        share,
        label,
        who=by.who,
        force=force,
        leaving=require_consent(workspace, name, consent, by.who),
        parity=_gate(workspace, engines, progress),
    )


def find_doubt(workspace: Workspace, name: str, label: str) -> str | None:
    """Why promoting an agent takes a reason, in a short sentence for people; None: a stored
    comparison shows that it is fit, or it is served already."""
    store = workspace.store
    agent, before = find_version(store, label).agent, releases.newest(store, workspace.name, name)
    if before is not None and before.agent == agent:
        return None
    try:
        judge(load_results(store), agent, before.agent if before else None, name)
    except UnprovenError as error:
        return error.in_words
    return None


def describe_promotion(workspace: Workspace, changes: Sequence[Release]) -> str:
    """What the agent that a release serves now was promoted on, in a sentence.

    Args:
        changes: of the release, newest first.
    """
    made = releases.find_promotion(changes)
    reason = f": {made.reason}" if made.reason else "."
    found = load_result(workspace.store, made.comparison) if made.comparison else None
    if found is None:
        gone = " that is no longer stored" if made.comparison else ""
        return f"Promoted {'after' if gone else 'without'} a comparison{gone}{reason}"
    verdict = verdict_in_words(found.verdict, found.names)
    if not made.reason:
        return f"Promoted after a comparison, which says: {wording.headline(verdict)}."
    measured = next((c for c in found.candidates if c.agent == made.agent), None)
    scored = ""
    if measured is not None and measured.score is not None:
        scored = f" ({wording.in_100(measured.score)} {scale_of(found).unit})"
    return (
        f"Promoted{scored} for the reason “{made.reason}”. The comparison said: "
        f"{wording.headline(verdict)}."
    )


def _check_owner(workspace: Workspace, by: Author, label: str) -> None:
    """Agents belong to the project that the folder is; for every other they are not there."""
    if by.project != workspace.name:
        raise NotFoundError(f"there is no agent {label}.")


def _gate(workspace: Workspace, engines: EnginePool | None, progress: Progress) -> Parity | None:
    """Asks the engine that will serve an agent whether it answers as the one that was measured; of
    a route, each of its arms.

    Only of language models on this machine, and only where there are validation examples to ask: a
    folder that is no project has none.
    """
    project = workspace.project
    if project is None:
        return None

    def ask(agent: Agent) -> None:
        for one in leaves(agent, workspace.store).values():
            ask_one(one)

    def ask_one(agent: Agent) -> None:
        if agent.kind != "chat" or is_remote(agent.model):
            return
        if version_bits(agent.model) < 16:
            return  # measured by the engine and the file that serve it
        if not workspace.gate.acquire(blocking=False):
            raise StateError(
                "another promotion is being checked.", fix="Try again when it has ended."
            )
        try:
            measure(agent)
        finally:
            workspace.gate.release()

    def measure(agent: Agent) -> None:
        from assay.evaluate.parity import parity
        from assay.evaluate.targets import ServingTarget

        context = project.context(progress)
        context.bench.engines.check_server()  # where there is one, it serves every version
        measured = context.bench.engines.here.for_agent(agent)
        assert isinstance(measured, TransformersBatchEngine)
        serving = engines or workspace.engines()
        try:
            target = ServingTarget(serving.engine(agent.model), measured.template)
            parity(context.bench, agent, context.validation, target).check()
        finally:
            if engines is None:
                serving.close()

    return ask


def rollback(
    workspace: Workspace,
    name: str,
    by: Author | None = None,
    *,
    consent: Sequence[str] = (),
    seen: int | None = None,
) -> Release:
    """Take the last change of a release back, `seen` alone where it is given; `consent` as of
    `promote`."""
    by = _by(workspace, by)
    leaving = require_consent(workspace, name, consent, by.who)
    return changes.rollback(
        workspace.store, by.project, name, who=by.who, seen=seen, leaving=leaving
    )


def list_releases(workspace: Workspace, project: str | None = None) -> list[dict[str, Any]]:
    """Every release (of the folder's own project) as it stands, and whether it keeps traces."""
    project = project or workspace.name
    kept = policies.policies(workspace.store, project)
    return [
        {**release.to_dict(), "traces": release.name in kept and kept[release.name].active}
        for release in releases.releases(workspace.store, project)
    ]


def history(workspace: Workspace, name: str, project: str | None = None) -> list[Release]:
    """Every change of a release, newest first."""
    return releases.history(workspace.store, project or workspace.name, name)


def traces_on(
    workspace: Workspace, name: str, *, sample: float, days: int, most: int
) -> policies.Policy:
    """Keep traces of a release from now on."""
    return policies.switch_on(
        workspace.store,
        workspace.name,
        name,
        who=workspace.who,
        sample=sample,
        days=days,
        most=most,
    )


def traces_off(workspace: Workspace, name: str, *, delete: bool) -> int:
    """Keep none from now on; returns how many that were kept are deleted."""
    return policies.switch_off(
        workspace.store, workspace.name, name, who=workspace.who, delete_kept=delete
    )


def list_traces(
    workspace: Workspace,
    name: str | None,
    *,
    count: int,
    corrected: bool,
    project: str | None = None,
) -> list[Trace]:
    """The newest traces, newest first."""
    owner = project or workspace.name
    return traces.traces(workspace.store, owner, name, count=count, corrected=corrected)


def show_trace(workspace: Workspace, id: str, project: str | None = None) -> Trace:
    """A trace, its conversation and labels."""
    return traces.trace(workspace.store, project or workspace.name, id)


def give_feedback(
    workspace: Workspace,
    id: str,
    *,
    thumb: Thumb | None,
    corrected: str | None,
    project: str | None = None,
) -> Trace:
    """Attach a thumb or the right answer to a trace.

    Raises:
        CorrectionError: the right answer cannot become an example of the folder's project; of what
            is another project's nothing is known here, and any text is kept.
    """
    owner = project or workspace.name
    if corrected is not None and owner == workspace.name:
        check_correction(workspace, corrected, traces.trace(workspace.store, owner, id).tools)
    return traces.feedback(workspace.store, owner, id, thumb=thumb, corrected=corrected)


def next_to_label(workspace: Workspace, name: str) -> Trace | None:
    """The trace of a release's random sample that is labelled next; None: all are."""
    release = releases.current(workspace.store, workspace.name, name)
    return labels.next_to_label(workspace.store, workspace.name, name, release.agent)


def label_trace(
    workspace: Workspace,
    id: str,
    *,
    right: bool = False,
    answer: str | None = None,
    skip: bool = False,
) -> float | None:
    """Say what the answer of a sampled trace is worth, by the project's own primary grader.

    Args:
        right: the answer is as it should be.
        answer: what it should have been; kept as the corrected answer, too.
        skip: it cannot be told.

    Returns:
        The score, 0 to 1; None where it was skipped.

    Raises:
        CorrectionError: the answer cannot become an example of the project.
        UsageError: not exactly one of the three, or the folder is no project, which has no graders.
    """
    if right + (answer is not None) + skip != 1:
        raise UsageError("say one thing.", fix="Use --right, --answer TEXT or --skip.")
    found = traces.trace(workspace.store, workspace.name, id)
    score: float | None = None
    thumb: Thumb | None = None
    if not skip:
        if answer is not None:
            check_correction(workspace, answer, found.tools)
        given = Message.from_dict(found.answer)
        target = given if answer is None else turn_of(answer, found.tools)
        score = _graded(workspace, found, given.text, target)
        # `right` counts whatever the score: the judge finds an answer and itself a tie.
        thumb = "up" if right or score == 1 else "down"
    who, store = workspace.who, workspace.store
    labels.label(store, workspace.name, id, score, who=who, thumb=thumb, corrected=answer)
    return score


def _graded(workspace: Workspace, trace: Trace, given: str, target: Message) -> float:
    if workspace.project is None:
        raise UsageError(
            "this folder is not a project, so there is no grader to score the answer.",
            fix=f"Label the trace in a project's folder, or {Step.JUDGE}.",
        )
    asked = [Message.from_dict(message) for message in trace.messages]
    example = Example(trace.id, (*asked, target), tools=tuple(trace.tools))
    return workspace.project.score(given, example)


def write_traces(
    workspace: Workspace, corrected: list[Trace], to: Path
) -> examples.ExportedExamples:
    """Write corrected traces as examples, see `assay.release.examples.write_examples`."""
    project = workspace.project
    template, context = project.template if project else (None, None)
    return examples.write_examples(
        corrected,
        to,
        config=project.config if project else None,
        template=template,
        context_length=context,
    )


def watch_release(
    workspace: Workspace, name: str, *, drop: float = watch.DROP, against: float | None = None
) -> WatchReport:
    """Say whether a release has gone stale, or how many labels that still takes."""
    release = releases.current(workspace.store, workspace.name, name)
    result = load_result(workspace.store, release.comparison) if release.comparison else None
    return watch.watch(
        release,
        labels.labels(workspace.store, workspace.name, name, release.agent),
        watch.reference(result, release, against),
        drop,
    )
