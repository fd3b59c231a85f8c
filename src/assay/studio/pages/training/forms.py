"""What trains is begun here: one version, a search for settings, a learning curve."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from assay.candidates.registry import plain_name, specs, taking_part
from assay.compare.report import wording
from assay.errors import AssayError, UsageError
from assay.project import comparisons
from assay.project.agents import check_new_name
from assay.project.answer import names as served
from assay.project.jobs import training
from assay.project.jobs.training import (
    MOST_TRIALS,
    CurveOptions,
    Effort,
    JobOptions,
    SweepOptions,
    TrainingOptions,
)
from assay.studio import widgets as w
from assay.studio.dialogs import open_dialog, say_at
from assay.studio.session import LatestRequest, PageContext, workspace_action
from assay.studio.shared.numbers import NO_NUMBER, are_valid, number_input
from assay.studio.words import stand_alone
from assay.train.trials import TRIALS

EFFORT_WORDS: dict[Effort, str] = {
    "settings": "As in the settings",
    "quick": "Quick: one epoch",
    "thorough": "Thorough: up to twelve epochs, at rank 32",
}

ReadOptions = Callable[[], JobOptions | None]

estimate_seconds = workspace_action("editor", training.seconds)
start_job = workspace_action("editor", training.start)


def start_card(context: PageContext) -> None:
    """What can be begun, each with what it is good for. Nothing where nothing may be."""
    if not context.may("editor") or context.workspace.config is None:
        return
    with w.card(), ui.element("div").classes("split thirds"):
        for name, why, form in (
            ("Train a version", "Trains one model on your examples, as a comparison does.",
             _ask_version),
            ("Search for settings", "Tries several training settings and shows which are "
             "best.", _ask_search),
            ("Draw a learning curve", "Shows whether more examples would help, before you "
             "collect them.", _ask_curve),
        ):  # fmt: skip
            with ui.element("div").classes("stack"):
                w.heading(name, why)
                with w.row():
                    w.button(name, lambda form=form: form(context))


class OptionsDialog:
    """Asks for options, says how long it will take, and begins.

    Args:
        ask: builds the inputs; returns what they say now, or None where one of them says what is
            wrong with it. It is given what to call on a change.
    """

    def __init__(
        self,
        context: PageContext,
        title: str,
        under: str,
        ask: Callable[[Callable[[], None]], ReadOptions],
        *,
        at_most: bool = False,
    ) -> None:
        self._context, self._at_most = context, at_most
        self._latest = LatestRequest()
        with open_dialog(title, under) as self._dialog:
            self._read_options = ask(self._start_estimate)
            self._estimate = w.text("", "note pre").props("role=status")
            with w.row():
                self._go = w.button("Start", self._start, kind="primary", icon="play_arrow")
                w.button("Cancel", self._dialog.close)
        self._start_estimate()

    def _start_estimate(self) -> None:
        is_latest = self._latest.start()
        self._go.set_enabled(False)
        self._estimate.classes(remove="bad")
        self._estimate.text = "Estimating how long it takes …"
        ui.timer(0.05, lambda: self._show_estimate(is_latest), once=True)

    async def _show_estimate(self, is_latest: Callable[[], bool]) -> None:
        is_possible = True
        options = self._read_options()
        if options is None:
            self._estimate.text = ""
            return
        try:
            seconds = await self._context.do(estimate_seconds, options)
            estimate = _format_estimate(seconds, at_most=self._at_most)
        except AssayError as error:
            is_possible = False
            estimate = stand_alone(error)
        if not is_latest() or self._dialog.is_deleted:
            return
        self._estimate.text = estimate
        if not is_possible:
            self._estimate.classes("bad")
        self._go.set_enabled(is_possible)

    async def _start(self) -> None:
        options = self._read_options()
        if options is None:
            return
        job = await self._context.do(start_job, options)
        ui.navigate.to(f"/training?id={job.id}")


async def _ask_version(context: PageContext) -> None:
    config = context.workspace.config
    models = await context.read(served.base_models, context.workspace.name)
    assert config is not None

    def ask(changed: Callable[[], None]) -> ReadOptions:
        model = w.field(
            "Model",
            ui.select(models, value=config.model, on_change=changed),
            meaning="The model to train. The original stays unchanged.",
            name="Model to train",
        )
        effort = w.field(
            "Effort",
            ui.select(dict(EFFORT_WORDS), value="settings", on_change=changed),
            meaning="More effort takes longer and is not always better.",
        )
        name = w.field(
            "Name of the agent",
            ui.input().props("debounce=400").on_value_change(changed),
            "Letters, digits, hyphens, dots and _. If there is an agent of this name, the trained "
            "model becomes its next version. Empty: no agent is created.",
        )

        def options() -> TrainingOptions | None:
            chosen = None if model.value == config.model else model.value
            called, name.error = (name.value or "").strip(), None
            try:
                if called:
                    check_new_name(called)
            except UsageError as error:
                name.error = say_at(str(error))
                return None
            return TrainingOptions(chosen, effort.value, called or None)

        return options

    under = "It learns your examples; the state that was best on the validation rows is kept."
    OptionsDialog(context, "Train a version", under, ask)


async def _ask_search(context: PageContext) -> None:
    def ask(changed: Callable[[], None]) -> ReadOptions:
        made = number_input(TRIALS, least=1, most=MOST_TRIALS, whole=True, missing=NO_NUMBER)
        made.props("debounce=400").on_value_change(changed)
        trials = w.field("How many settings to try", made, "Includes those of earlier searches.")
        return lambda: SweepOptions(int(trials.value)) if are_valid(trials) else None

    under = (
        "Tries settings around the project's. Weak ones are stopped early; assay.yaml stays "
        "unchanged until you accept the best."
    )
    OptionsDialog(context, "Search for settings", under, ask, at_most=True)


async def _ask_curve(context: PageContext) -> None:
    config = context.workspace.config
    assert config is not None
    there = {name: specs()[name] for name in [*taking_part(config), "fine-tune"]}
    names = {
        name: plain_name(name) or name
        for name, spec in there.items()
        if spec.learns_from_rows(config)
    }
    first = "fine-tune"
    if first not in config.candidates:
        last = await context.read(comparisons.newest)
        ranked = [] if last is None else [one.kind for one in wording.rank(last)]
        first = next(kind for kind in [*ranked, *names] if kind in names)

    def ask(changed: Callable[[], None]) -> ReadOptions:
        candidate = w.field(
            "Candidate",
            ui.select(names, value=first, on_change=changed),
            meaning="The candidate whose score is plotted against the number of examples.",
            name="Candidate of the curve",
        )
        return lambda: CurveOptions(candidate.value)

    under = (
        "Builds it from five growing numbers of examples, three times each. The holdout stays "
        "locked."
    )
    OptionsDialog(context, "Draw a learning curve", under, ask)


def _format_estimate(seconds: float, *, at_most: bool) -> str:
    minutes = max(1, round(seconds / 60))
    hours = f"{minutes / 60:.1f} hours" if minutes >= 120 else f"{minutes} minutes"
    hours = "a minute" if minutes == 1 else hours
    return f"Takes {'at most ' if at_most else ''}about {hours} on this machine."
