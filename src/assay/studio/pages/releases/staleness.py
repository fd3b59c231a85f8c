"""Whether a release still answers as well as when it was promoted: what is known, and the next
answer of the random sample to be judged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from assay.chat.plain_calls import say_turn
from assay.errors import AssayError, UsageError
from assay.example import Message
from assay.project import releases, row_forecast
from assay.project.releases.correction_check import CorrectionError
from assay.project.releases.kept import KeptTraces, kept_traces
from assay.project.releases.scores import AgentScores
from assay.quantities import say_count, say_share
from assay.release.traces import Trace
from assay.studio import widgets as w
from assay.studio.dialogs import advise, errors_at
from assay.studio.pages.releases.answer_field import answer_field
from assay.studio.session import PageContext, action, workspace_action
from assay.studio.shared.turns import show_turn
from assay.studio.words import stand_alone

CARDS = {"stale": "lost", "holds": "accent"}


@action("viewer")
def read_staleness(context: PageContext, name: str) -> tuple[str, str]:
    """What is known, as a sentence and as `stale`, `holds` or `open`."""
    try:
        watched = releases.watch_release(context.workspace, name)
    except AssayError as error:
        return stand_alone(error.what), "open"
    return watched.sentence, watched.outcome


judge_trace = workspace_action("editor", releases.label_trace)


def staleness_card(
    context: PageContext,
    name: str,
    known: tuple[str, str],
    measured: AgentScores,
    nothing: KeptTraces | None,
    show_trace: Callable[[str], Awaitable[None]],
) -> None:
    """What is known of a release, and for editors the next answer to judge.

    Args:
        nothing: what is kept, where no answer waits to be judged; None: one does.
        show_trace: shows a trace anew in the list of all, by its id.
    """
    with w.section(
        "Is it as good as when it was promoted?",
        "A random sample of recent answers, judged by people in the order they came. What is "
        "marked or corrected in “Traces” does not count before it is judged here.",
        style=CARDS.get(known[1], "open"),
    ):
        sentence = w.text(known[0]).props("role=status")
        if measured.has_newer and measured.phrase:
            w.text(f"On the holdout, its agent scored {measured.phrase}.")
        if not context.may("editor"):
            return
        shown = ui.element("div").classes("stack")

        async def show_next() -> None:
            trace = await context.read(releases.next_to_label, name)
            with w.refill(shown):
                if trace is None:
                    kept = await context.read(kept_traces, name)
                    w.text(explain_nothing_to_judge(kept), "soft")
                else:
                    _show_trace(context, trace, judged)

        async def judged(id: str) -> None:
            await show_trace(id)
            sentence.text = (await context.do(read_staleness, name))[0]
            await show_next()

        with shown:
            if nothing is not None:
                w.text(explain_nothing_to_judge(nothing), "soft")
                return
            with w.row():
                w.button("Judge the next answer", show_next, icon="rule")


def explain_nothing_to_judge(kept: KeptTraces) -> str:
    """Why no answer is to be judged: nothing is kept, the sample is empty, or it is judged."""
    if not kept.of_agent:
        return "There is nothing to judge now: there is no trace of this agent's answers."
    share = f"{say_share(kept.share)} of the traces are drawn for it as they come"
    if not kept.active:
        share = "no new traces are kept"
    if not kept.sampled:
        several = f"none of the {say_count(kept.of_agent, 'trace')} of this agent is in it"
        only = "the only trace of this agent is not in it"
        return (
            "There is nothing to judge now: only a random sample is judged, and "
            f"{only if kept.of_agent == 1 else several}; {share}."
        )
    if kept.of_agent == 1:
        return (
            "The only trace of this agent is in the random sample, and is judged or set aside "
            f"(“Cannot tell”); {share}."
        )
    return (
        f"All {kept.sampled:,} of the random sample are judged or set aside (“Cannot tell”), of "
        f"{say_count(kept.of_agent, 'trace')} of this agent; {share}."
    )


def _show_trace(
    context: PageContext, trace: Trace, judged: Callable[[str], Awaitable[None]]
) -> None:
    given = Message.from_dict(trace.answer)
    content = given.text  # a call is corrected as a model writes it
    for message in map(Message.from_dict, trace.messages):
        if say_turn(message).strip():
            show_turn(message)
        else:
            w.text("(no text)", "pre")
    w.text("Answer", "soft note")
    show_turn(given, "strong")
    known = content if trace.corrected is None else trace.corrected
    right = answer_field(context, known, content, "Correct answer of the sample")

    async def judge(*, skip: bool = False) -> None:
        words = str(right.value or "")
        is_right = not skip and words == content
        answer = None if skip or is_right else words
        with errors_at(right, UsageError, CorrectionError):
            await context.do(judge_trace, trace.id, right=is_right, answer=answer, skip=skip)
        odd = None if answer is None else await context.read(row_forecast.warn_of_spelling, answer)
        if odd is not None:
            advise(f"The correction was saved. But look at it again: {odd}")
        await judged(trace.id)

    with w.row():
        keep = w.button(_judgement(known, content), judge, kind="primary", icon="check")
        right.on_value_change(lambda: keep.set_text(_judgement(right.value, content)))
        w.button("Cannot tell", lambda: judge(skip=True))


def _judgement(right: str, answer: str) -> str:
    return "Mark as correct" if right == answer else "Use this answer"
