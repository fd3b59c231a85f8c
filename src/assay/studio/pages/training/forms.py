"""What trains is begun here: one version, a search for settings, a learning curve."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from assay.candidates.registry import specs, taking_part
from assay.errors import AssayError
from assay.jobs.queue import Job
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
from assay.studio.dialogs import telling
from assay.studio.session import Visit, action
from assay.studio.widgets import button, card, field, heading, named, row, text
from assay.train.trials import TRIALS

EFFORT_WORDS: dict[Effort, str] = {
    "settings": "As the settings say",
    "quick": "A quick look: one round over the examples",
    "thorough": "Thorough: up to twelve rounds, and room for more",
}


@action("editor")
def expected(visit: Visit, options: JobOptions) -> float:
    """About how long it will take, in seconds; refused where it cannot be done."""
    return training.seconds(visit.workspace, options)


@action("editor")
def start(visit: Visit, options: JobOptions) -> Job:
    """Queue it."""
    return training.start(visit.workspace, options)


def starting_card(visit: Visit) -> None:
    """What can be begun, each with what it is good for. Nothing where nothing may be."""
    if not visit.may("editor") or visit.workspace.config is None:
        return
    with card(), ui.element("div").classes("split thirds"):
        for name, why, form in (
            ("Train a version", "One model on your examples, as a comparison would.", _version),
            ("Search for settings", "Tries learning rates, ranks and rounds, and says which "
             "train best.", _search),
            ("Draw a learning curve", "Says whether more examples would help, before they are "
             "collected.", _curve),
        ):  # fmt: skip
            with ui.element("div").classes("stack"):
                heading(name, why)
                with row():
                    button(name, lambda form=form: form(visit))


class Dialog:
    """Asks for options, says how long it will take, and begins.

    Args:
        ask: builds the inputs; returns what they say now. It is given what to call on a change.
    """

    def __init__(
        self,
        visit: Visit,
        title: str,
        under: str,
        ask: Callable[[Callable[[], None]], Callable[[], JobOptions]],
        *,
        at_most: bool = False,
    ) -> None:
        self._visit, self._at_most, self._turn = visit, at_most, 0
        with ui.dialog(value=True) as self._dialog, ui.card().classes("studio"):
            heading(title, under)
            self._wish = ask(self._ask_again)
            self._told = text("", "note pre").props("role=status")
            with row():
                self._go = button("Start", self._start, kind="primary", icon="play_arrow")
                button("Cancel", self._dialog.close)
        self._dialog.on("hide", self._dialog.delete)
        self._ask_again()

    def _ask_again(self) -> None:
        self._turn += 1
        turn = self._turn
        self._go.set_enabled(False)
        self._told.classes(remove="bad")
        self._told.text = "Finding out how long that takes …"
        ui.timer(0.05, lambda: self._expect(turn), once=True)

    async def _expect(self, turn: int) -> None:
        ready, said = True, ""
        try:
            seconds = await self._visit.do(expected, self._wish())
            said = _duration(seconds, at_most=self._at_most)
        except AssayError as error:
            ready = False
            said = f"{error.what[:1].upper()}{error.what[1:]} {error.fix or ''}".strip()
        if turn != self._turn or self._dialog.is_deleted:
            return
        self._told.text = said
        if not ready:
            self._told.classes("bad")
        self._go.set_enabled(ready)

    async def _start(self) -> None:
        with telling():
            job = await self._visit.do(start, self._wish())
            ui.navigate.to(f"/training?id={job.id}")


async def _version(visit: Visit) -> None:
    config = visit.workspace.config
    models = await visit.do(lambda v: served.base_models(v.workspace, v.workspace.name))
    assert config is not None

    def ask(changed: Callable[[], None]) -> Callable[[], JobOptions]:
        with field("Model", meaning="It is trained; what it was before stays."):
            model = ui.select(models, value=config.model, on_change=changed)
            named(model, "Model to train")
        with field("How much", meaning="More takes longer, and need not be better."):
            effort = ui.select(dict(EFFORT_WORDS), value="settings", on_change=changed)
            named(effort, "How much")
        with field("Name of the agent made of it", "Letters, digits, hyphens. Empty: none yet."):
            name = ui.input().props("debounce=400").on_value_change(changed)
            named(name, "Name of the agent made of it")

        def options() -> TrainingOptions:
            chosen = None if model.value == config.model else model.value
            return TrainingOptions(chosen, effort.value, (name.value or "").strip() or None)

        return options

    under = "It learns your examples; the round that was best on those to choose by is kept."
    Dialog(visit, "Train a version", under, ask)


async def _search(visit: Visit) -> None:
    def ask(changed: Callable[[], None]) -> Callable[[], JobOptions]:
        with field("Settings to try", "Those of an earlier search count."):
            trials = ui.number(value=TRIALS, min=1, max=MOST_TRIALS, step=1, precision=0)
            named(trials.props("debounce=400"), "Settings to try")
            trials.on_value_change(changed)
        return lambda: SweepOptions(int(trials.value or 0))

    under = (
        "Around those of the project. What falls behind is stopped early; assay.yaml stays as it "
        "is until you say so."
    )
    Dialog(visit, "Search for settings", under, ask, at_most=True)


async def _curve(visit: Visit) -> None:
    config = visit.workspace.config
    assert config is not None
    candidates = dict.fromkeys([*taking_part(config), "fine-tune"])
    names = {name: specs()[name].title.capitalize() for name in candidates}

    def ask(changed: Callable[[], None]) -> Callable[[], JobOptions]:
        with field("Of", meaning="The candidate whose score is drawn by the number of examples."):
            value = "fine-tune" if "fine-tune" in config.candidates else config.candidates[0]
            candidate = ui.select(names, value=value, on_change=changed)
            named(candidate, "Candidate of the curve")
        return lambda: CurveOptions(candidate.value)

    under = "Built five times from ever more examples, three times over. Nothing locked is opened."
    Dialog(visit, "Draw a learning curve", under, ask)


def _duration(seconds: float, *, at_most: bool) -> str:
    minutes = max(1, round(seconds / 60))
    hours = f"{minutes / 60:.1f} hours" if minutes >= 120 else f"{minutes} minutes"
    hours = "a minute" if minutes == 1 else hours
    return f"Takes {'at most ' if at_most else ''}about {hours} on this machine."
