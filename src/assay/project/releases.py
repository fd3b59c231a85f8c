"""Releases, traces and watching of a workspace: what the command line calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assay.agent.agent import Agent
from assay.agent.routing import leaves
from assay.compare.records import finished
from assay.config import REMOTE
from assay.errors import UsageError
from assay.example import Example, Message
from assay.generate.local import LocalEngine
from assay.progress import SILENT, Progress
from assay.project.workspace import Workspace
from assay.release import examples, labels, policies, releases, traces, watch
from assay.release.releases import Parity, Release
from assay.release.traces import Thumb, Trace
from assay.release.watch import Watch

MOST_TO_DATA = 100_000


def promote(
    workspace: Workspace,
    name: str,
    label: str,
    *,
    force: str | None = None,
    progress: Progress = SILENT,
) -> Release:
    """Point a release at an agent, see `assay.release.releases.promote` and `_gate`."""
    return releases.promote(
        workspace.store,
        workspace.name,
        name,
        label,
        who=workspace.who,
        force=force,
        parity=_gate(workspace, progress),
    )


def canary(
    workspace: Workspace,
    name: str,
    share: float,
    label: str | None = None,
    *,
    force: str | None = None,
    progress: Progress = SILENT,
) -> Release:
    """Give an agent a share of a release's keys, see `releases.canary` and `_gate`."""
    return releases.canary(
        workspace.store,
        workspace.name,
        name,
        share,
        label,
        who=workspace.who,
        force=force,
        parity=_gate(workspace, progress),
    )


def _gate(workspace: Workspace, progress: Progress) -> Parity | None:
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
        if agent.kind != "chat" or agent.model.startswith(REMOTE):
            return
        from assay.generate.serving_local import LocalServing
        from assay.release.parity import parity
        from assay.release.targets import ServingTarget

        context = project.context(progress)
        measured = context.bench.engines.for_agent(agent)
        assert isinstance(measured, LocalEngine)
        serving = LocalServing(workspace.store.folder)
        try:
            target = ServingTarget(serving.engine(agent.model), measured.template)
            parity(context.bench, agent, context.validation, target).check()
        finally:
            serving.close()

    return ask


def rollback(workspace: Workspace, name: str) -> Release:
    """Take the last change of a release back."""
    return releases.rollback(workspace.store, workspace.name, name, who=workspace.who)


def listed(workspace: Workspace) -> list[dict[str, Any]]:
    """Every release as it stands, and whether it keeps traces."""
    kept = policies.policies(workspace.store, workspace.name)
    return [
        {**release.to_dict(), "traces": release.name in kept and kept[release.name].active}
        for release in releases.releases(workspace.store, workspace.name)
    ]


def history(workspace: Workspace, name: str) -> list[Release]:
    """Every change of a release, newest first."""
    return releases.history(workspace.store, workspace.name, name)


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
    workspace: Workspace, name: str | None, *, count: int, corrected: bool
) -> list[Trace]:
    """The newest traces, newest first."""
    return traces.traces(workspace.store, workspace.name, name, count=count, corrected=corrected)


def show_trace(workspace: Workspace, id: str) -> Trace:
    """One trace."""
    return traces.trace(workspace.store, workspace.name, id)


def give_feedback(
    workspace: Workspace, id: str, *, thumb: Thumb | None, corrected: str | None
) -> Trace:
    """Attach a thumb or the right answer to a trace."""
    return traces.feedback(workspace.store, workspace.name, id, thumb=thumb, corrected=corrected)


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
        UsageError: not exactly one of the three, or the folder is no project, which has no graders.
    """
    if right + (answer is not None) + skip != 1:
        raise UsageError("say one thing.", fix="Use --right, --answer TEXT or --skip.")
    found = traces.trace(workspace.store, workspace.name, id)
    score = None
    if not skip:
        given = str(found.answer.get("content") or "")
        score = _graded(workspace, found, given, given if answer is None else answer)
    labels.label(workspace.store, workspace.name, id, score, who=workspace.who, corrected=answer)
    return score


def _graded(workspace: Workspace, trace: Trace, given: str, right: str) -> float:
    if workspace.project is None:
        raise UsageError(
            "this folder is no project, so there is no grader that says what an answer is worth.",
            fix="Use `assay traces feedback`, or label in a project's folder.",
        )
    asked = [Message.from_dict(message) for message in trace.messages]
    example = Example(trace.id, (*asked, Message("assistant", right)))
    return workspace.project.score(given, example)


def traces_to_data(workspace: Workspace, to: Path, name: str | None) -> examples.Written:
    """Write corrected traces as examples, see `assay.release.examples.write_examples`."""
    found = list_traces(workspace, name, count=MOST_TO_DATA, corrected=True)
    project = workspace.project
    template, context = project.template if project else (None, None)
    return examples.write_examples(
        found[::-1],
        to,
        config=project.config if project else None,
        template=template,
        context_length=context,
    )


def watch_release(
    workspace: Workspace, name: str, *, drop: float = watch.DROP, against: float | None = None
) -> Watch:
    """Say whether a release has gone stale, or how many labels that still takes."""
    release = releases.current(workspace.store, workspace.name, name)
    result = finished(workspace.store, release.comparison) if release.comparison else None
    return watch.watch(
        release,
        labels.labels(workspace.store, workspace.name, name, release.agent),
        watch.reference(result, release, against),
        drop,
    )
