"""What came of a training, a search for settings, a learning curve."""

from __future__ import annotations

from typing import Any

from assay.compare.report import charts, learning_curve
from assay.jobs.queue import Job
from assay.project import settings
from assay.project.jobs import training
from assay.project.settings import SettingsDraft
from assay.quantities import say_number
from assay.studio import widgets as w
from assay.studio.dialogs import notify
from assay.studio.session import PageContext, action
from assay.studio.shared.names import plain_label, typed_term

SOUGHT = {
    "learning_rate": "Learning rate",
    "rank": "Rank",
    "epochs": "Epochs",
    "rows_per_step": "Rows per step",
}
STATES = {"finished": "good", "stopped early": "", "failed": "bad", "unfinished": ""}


@action("editor")
def use_settings(context: PageContext, best: dict[str, float]) -> SettingsDraft:
    """Put settings that a search has found into assay.yaml."""
    values = {f"fine_tune.{name}": value for name, value in best.items()}
    return settings.change(context.workspace, values, "best settings of a search")


def outcome_card(context: PageContext, job: Job) -> None:
    """A card with what came of a job that is over; nothing of other kinds."""
    if job.status != "succeeded" or job.result is None:
        return
    show = {
        training.TRAIN: _show_version,
        training.SWEEP: _show_search,
        training.CURVE: _show_curve,
    }.get(job.kind)
    if show is not None:
        with w.card():
            show(context, job.result)


def _show_version(context: PageContext, result: dict[str, Any]) -> None:
    with w.text("", tag="h2"):
        typed_term("A version was trained", f"version:{result['version'][:12]}")
    with w.row("figures"):
        best = result["best_validation_loss"]
        if result.get("rewards"):
            w.figure(f"{1 - best:.3f}", "best reward on validation")
        else:
            w.figure(f"{best:.3f}", "best validation loss")
        w.figure(f"{result['steps']:,}", "steps")
        w.figure(f"{result['tokens_per_s']:,.0f}", "tokens per second")
    stated, without_rank = result["settings"], result["settings"].get("adapter") == "full"
    names = ", ".join(
        f"{label.lower()} {say_number(stated[name])}"
        for name, label in SOUGHT.items()
        if name != "rank" or not without_rank
    )
    w.text(f"Trained with {names}.", "soft note")
    for line in result.get("warnings", ()):
        w.text(line, "note bad")
    with w.row():
        if result.get("agent"):
            plain = plain_label(result["agent"])
            w.link(f"Agent {plain}", f"/agent?name={result['agent'].rpartition('@')[0]}")
        w.link("Try it in the Playground", "/playground")


def _show_search(context: PageContext, result: dict[str, Any]) -> None:
    best, trials = result["best"], result["trials"]
    w.heading("Settings tried", "The lower the loss on the validation rows, the better.")
    with w.table(
        w.Number("Trial"),
        *(w.Number(SOUGHT[name]) for name in SOUGHT if name in best["settings"]),
        w.Number("Epochs run"),
        w.Number("Loss"),
        "",
        label="Settings tried",
    ):
        for tried in trials:
            loss = "–" if tried["loss"] is None else f"{tried['loss']:.4f}"
            values = [
                w.Number(say_number(tried["settings"][name]) if name in tried["settings"] else "–")
                for name in SOUGHT
                if name in best["settings"]
            ]
            chosen = tried["number"] == best["number"]
            with (
                w.cells(
                    w.Number(f"{tried['number'] + 1}"),
                    *values,
                    w.Number(f"{tried['epochs_done']}"),
                    w.Number(loss),
                    style="chosen" if chosen else "",
                ),
                w.text("", tag="td"),
            ):
                w.badge("best" if chosen else tried["state"], STATES[tried["state"]])
    if not result["diff"]:
        w.text("The project's settings are the best of those tried.", "soft")
        return
    if not context.may("editor"):
        return

    async def click() -> None:
        await context.do(use_settings, best["settings"])
        notify("The best settings were saved. The next training and comparison use them.")

    with w.row():
        w.button("Save the best settings", click, kind="primary", icon="check")


def _show_curve(context: PageContext, result: dict[str, Any]) -> None:
    result = {**result, "candidate": plain_label(result["candidate"])}
    w.heading("Would more examples help?", learning_curve.doubled(result))
    w.picture(charts.learning(result))
    with w.row():
        w.term(
            learning_curve.foreseen(result),
            "The same forecast was made from half of the rows and compared with the score that all "
            "of them reached.",
        )
    with (
        w.details("Figures"),
        w.table(
            w.Number("Training rows"), w.Number("Score"), "Each run", label="Points of the curve"
        ),
    ):
        for point in result["points"]:
            scores = point["scores"]
            each = ", ".join(f"{100 * score:.1f}" for score in scores)
            mean = 100 * sum(scores) / len(scores)
            w.line(w.Number(f"{point['rows']:,}"), w.Number(f"{mean:.1f}"), each)
