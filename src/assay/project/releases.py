"""Releases, traces and watching, for a folder's state: what the command line and the API call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assay.agent.agent import Agent
from assay.compare.records import finished
from assay.config import REMOTE
from assay.errors import UsageError
from assay.example import Example, Message
from assay.generate.local import LocalEngine
from assay.progress import SILENT, Progress
from assay.project.state import State
from assay.release import examples, labels, policies, releases, traces, watch
from assay.release.releases import Parity, Release
from assay.release.traces import Thumb, Trace
from assay.release.watch import Watch

MOST_TO_DATA = 100_000


def promote(
    state: State,
    name: str,
    label: str,
    *,
    force: str | None = None,
    progress: Progress = SILENT,
) -> Release:
    """Point a release at an agent, see `assay.release.releases.promote` and `_gate`."""
    return releases.promote(
        state.store,
        state.name,
        name,
        label,
        who=state.who,
        force=force,
        parity=_gate(state, progress),
    )


def canary(
    state: State,
    name: str,
    share: float,
    label: str | None = None,
    *,
    force: str | None = None,
    progress: Progress = SILENT,
) -> Release:
    """Give an agent a share of a release's keys, see `releases.canary` and `_gate`."""
    return releases.canary(
        state.store,
        state.name,
        name,
        share,
        label,
        who=state.who,
        force=force,
        parity=_gate(state, progress),
    )


def _gate(state: State, progress: Progress) -> Parity | None:
    """Asks the engine that will serve an agent whether it answers as the one that was measured.

    Only of language models on this machine, and only where there are validation examples to ask: a
    folder that is no project has none.
    """
    project = state.project
    if project is None:
        return None

    def ask(agent: Agent) -> None:
        if agent.kind != "chat" or agent.model.startswith(REMOTE):
            return
        from assay.generate.serving_local import LocalServing
        from assay.release.parity import parity
        from assay.release.targets import ServingTarget

        context = project.context(progress)
        measured = context.bench.engines.for_agent(agent)
        assert isinstance(measured, LocalEngine)
        serving = LocalServing(state.store.folder)
        try:
            target = ServingTarget(serving.engine(agent.model), measured.template)
            parity(context.bench, agent, context.validation, target).check()
        finally:
            serving.close()

    return ask


def rollback(state: State, name: str) -> Release:
    """Take the last change of a release back."""
    return releases.rollback(state.store, state.name, name, who=state.who)


def listed(state: State) -> list[dict[str, Any]]:
    """Every release as it stands, and whether it keeps traces."""
    kept = policies.policies(state.store, state.name)
    return [
        {**release.to_dict(), "traces": release.name in kept and kept[release.name].active}
        for release in releases.releases(state.store, state.name)
    ]


def history(state: State, name: str) -> list[Release]:
    """Every change of a release, newest first."""
    return releases.history(state.store, state.name, name)


def traces_on(state: State, name: str, *, sample: float, days: int, most: int) -> policies.Policy:
    """Keep traces of a release from now on."""
    return policies.switch_on(
        state.store, state.name, name, who=state.who, sample=sample, days=days, most=most
    )


def traces_off(state: State, name: str, *, delete: bool) -> int:
    """Keep none from now on; returns how many that were kept are deleted."""
    return policies.switch_off(state.store, state.name, name, who=state.who, delete_kept=delete)


def list_traces(state: State, name: str | None, *, count: int, corrected: bool) -> list[Trace]:
    """The newest traces, newest first."""
    return traces.traces(state.store, state.name, name, count=count, corrected=corrected)


def show_trace(state: State, id: str) -> Trace:
    """One trace."""
    return traces.trace(state.store, state.name, id)


def give_feedback(state: State, id: str, *, thumb: Thumb | None, corrected: str | None) -> Trace:
    """Attach a thumb or the right answer to a trace."""
    return traces.feedback(state.store, state.name, id, thumb=thumb, corrected=corrected)


def next_to_label(state: State, name: str) -> Trace | None:
    """The trace of a release's random sample that is labelled next; None: all are."""
    release = releases.current(state.store, state.name, name)
    return labels.next_to_label(state.store, state.name, name, release.agent)


def label_trace(
    state: State, id: str, *, right: bool = False, answer: str | None = None, skip: bool = False
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
    found = traces.trace(state.store, state.name, id)
    score = None
    if not skip:
        given = str(found.answer.get("content") or "")
        score = _graded(state, found, given, given if answer is None else answer)
    labels.label(state.store, state.name, id, score, who=state.who, corrected=answer)
    return score


def _graded(state: State, trace: Trace, given: str, right: str) -> float:
    if state.project is None:
        raise UsageError(
            "this folder is no project, so there is no grader that says what an answer is worth.",
            fix="Use `assay traces feedback`, or label in a project's folder.",
        )
    asked = [Message.from_dict(message) for message in trace.messages]
    example = Example(trace.id, (*asked, Message("assistant", right)))
    return state.project.score(given, example)


def traces_to_data(state: State, to: Path, name: str | None) -> examples.Written:
    """Write corrected traces as examples, see `assay.release.examples.write_examples`."""
    found = list_traces(state, name, count=MOST_TO_DATA, corrected=True)
    project = state.project
    template, context = project.template if project else (None, None)
    return examples.write_examples(
        found[::-1],
        to,
        config=project.config if project else None,
        template=template,
        context_length=context,
    )


def watch_release(
    state: State, name: str, *, drop: float = watch.DROP, against: float | None = None
) -> Watch:
    """Say whether a release has gone stale, or how many labels that still takes."""
    release = releases.current(state.store, state.name, name)
    result = finished(state.store, release.comparison) if release.comparison else None
    return watch.watch(
        release,
        labels.labels(state.store, state.name, name, release.agent),
        watch.reference(result, release, against),
        drop,
    )
