"""What came of a training, a search for settings, a learning curve."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from assay.compare.report import wording
from assay.jobs.queue import Job
from assay.project import comparisons, settings
from assay.project.jobs import training
from assay.project.settings import SettingsDraft
from assay.studio.dialogs import say, telling
from assay.studio.session import Visit, action
from assay.studio.widgets import (
    badge,
    button,
    card,
    cells,
    figure,
    heading,
    link,
    picture,
    row,
    table,
    term,
    text,
)

SOUGHT = {
    "learning_rate": "Learning rate",
    "rank": "Rank",
    "epochs": "Rounds",
    "rows_per_step": "Rows a step",
}
STATES = {"finished": "good", "stopped early": "", "failed": "bad", "unfinished": ""}


@action("editor")
def use(visit: Visit, best: dict[str, float]) -> SettingsDraft:
    """Put settings that a search has found into assay.yaml."""
    values = {f"fine_tune.{name}": value for name, value in best.items()}
    return settings.change(visit.workspace, values, "the best of a search for settings")


def outcome(visit: Visit, job: Job) -> None:
    """A card with what came of a job that is over; nothing of other kinds."""
    if job.status != "succeeded" or job.result is None:
        return
    show = {
        training.TRAIN: _version,
        training.SWEEP: _search,
        training.CURVE: _curve,
    }.get(job.kind)
    if show is not None:
        with card():
            show(visit, job.result)


def _version(visit: Visit, result: dict[str, Any]) -> None:
    heading("A version was trained", f"version:{result['version'][:12]}")
    with row("figures"):
        figure(f"{result['best_validation_loss']:.3f}", "best validation loss")
        figure(f"{result['steps']:,}", "steps")
        figure(f"{result['tokens_per_s']:,.0f}", "tokens a second")
    names = ", ".join(
        f"{label.lower()} {result['settings'][name]:g}" for name, label in SOUGHT.items()
    )
    text(f"Trained with {names}.", "soft note")
    with row():
        if result.get("agent"):
            link(f"Agent {result['agent']}", f"/agent?name={result['agent'].rpartition('@')[0]}")
        link("Ask it", "/playground")


def _search(visit: Visit, result: dict[str, Any]) -> None:
    best, trials = result["best"], result["trials"]
    heading("What was tried", "The lower the loss on examples to choose by, the better.")
    with table(
        "#Trial",
        *(f"#{SOUGHT[name]}" for name in SOUGHT if name in best["settings"]),
        "#Rounds run",
        "#Loss",
        "",
        label="Settings that were tried",
    ):
        for tried in trials:
            loss = "–" if tried["loss"] is None else f"{tried['loss']:.4f}"
            values = [
                f"#{tried['settings'][name]:g}" if name in tried["settings"] else "#–"
                for name in SOUGHT
                if name in best["settings"]
            ]
            chosen = tried["number"] == best["number"]
            with (
                cells(
                    f"#{tried['number'] + 1}",
                    *values,
                    f"#{tried['epochs_done']}",
                    f"#{loss}",
                    style="chosen" if chosen else "",
                ),
                text("", tag="td"),
            ):
                badge("best" if chosen else tried["state"], STATES[tried["state"]])
    if not result["diff"]:
        text("The settings of the project are the best that were tried.", "soft")
        return
    if not visit.may("editor"):
        return

    async def click() -> None:
        with telling():
            await visit.do(use, best["settings"])
            say("The settings have the best now. The next training and comparison use them.")

    with row():
        button("Put the best into the settings", click, kind="primary", icon="check")


def _curve(visit: Visit, result: dict[str, Any]) -> None:
    heading("Would more examples help?", wording.doubled(result))
    picture(comparisons.learning_chart(result))
    with row():
        term(
            wording.foreseen(result),
            "The same forecast was made from half of the rows, and held against what all of them "
            "brought.",
        )
    with ui.element("details"):
        text("The figures", tag="summary")
        with table("#Training rows", "#Score", "Each time", label="Points of the curve"):
            for point in result["points"]:
                scores = point["scores"]
                each = ", ".join(f"{100 * score:.1f}" for score in scores)
                mean = 100 * sum(scores) / len(scores)
                with cells(f"#{point['rows']:,}", f"#{mean:.1f}", each):
                    pass
