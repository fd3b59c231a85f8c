"""The models that end: their projects, their answers within a budget, who can take their place."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nicegui import ui
from nicegui.element import Element

from assay.accounts.costs import MOST_USD
from assay.compare.report.wording import usd
from assay.config import TokenPrice
from assay.project.jobs import rescue
from assay.project.jobs.rescue import SHOWN, RescueState
from assay.project.recording import RecordingDraft
from assay.project.rescue.page import client_lines, environment_lines, later_commands
from assay.project.rescue.uploads import PROJECTS
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.dialogs import confirm, errors_at
from assay.studio.pages.rescue.account import account_choice, ask_to_send
from assay.studio.pages.rescue.successor import SuccessorField
from assay.studio.session import LatestRequest, PageContext, workspace_action
from assay.studio.shared.another_project import next_port, serve_command
from assay.studio.shared.numbers import NO_NUMBER, are_valid, number_input

DRAWN = (
    "The holdout is drawn from the training file. The model was trained on these rows and scores "
    "more there than on new ones: what is shown to be no worse is no worse on new ones either."
)

start_planning = workspace_action("admin", rescue.plan)
draft_answers = workspace_action("admin", rescue.draft_answers)
start_recording = workspace_action("admin", rescue.record_answers)
read_costs = workspace_action("admin", rescue.comparison_costs)
start_comparing = workspace_action("admin", rescue.compare_answers)


def projects_card(
    context: PageContext,
    accounts: Sequence[dict[str, Any]],
    state: RescueState,
    reload: Callable[[], None],
) -> None:
    """The making of projects of an account."""

    async def plan() -> None:
        start = partial(context.do, start_planning)
        if await successor.ask_and_start(start, "Make the projects?", "Make projects"):
            reload()

    with w.section(
        "3. Make projects",
        f"One for each fine-tuning job whose training file is here, in {PROJECTS}. Nothing is "
        "sent, and a project that is there already stays as it is.",
    ):
        successor = SuccessorField(context, accounts)
        with w.row():
            made = w.button("Make projects", plan, kind="" if state.plan else "primary")
            made.set_enabled(state.active_kind is None)


def unmade_card(state: RescueState) -> None:
    """Models that have no project, and why."""
    models = state.plan["models"] if state.plan else []
    without = [one for one in models if one["project"] is None]
    more = len(models) - len(state.planned) - len(without[:SHOWN])
    if not without and not more:
        return
    with w.section("Models without a project" if without else "Further models"):
        for one in without[:SHOWN]:
            w.text(f"{one['model']} has no project: {one['reason']}")
        if more:
            w.text(f"{say_count(more, 'model')} more: see {PROJECTS}/plan.md.", "soft")


def model_cards(
    context: PageContext,
    accounts: Sequence[dict[str, Any]],
    state: RescueState,
    reload: Callable[[], None],
) -> dict[str, Element]:
    """A card for each model that has a project, by its name."""
    return {
        one["model"]: _model_card(context, accounts, state, one, reload) for one in state.planned
    }


def program_card(context: PageContext) -> None:
    """What changes in the calling program."""
    with w.section(
        "6. Change the calling program",
        "Only the address and the key change; the name of the model stays.",
    ):
        w.code("\n".join(client_lines(next_port(context))), "The calling program")
        w.text("Or, without a change of the program, in its environment:")
        w.code(
            "\n".join(environment_lines(next_port(context))), "Environment of the calling program"
        )
        w.text("`assay serve` prints a key at its first start. The port is the one in the command "
               "that serves the project.", "soft note")  # fmt: skip


def _model_card(
    context: PageContext,
    accounts: Sequence[dict[str, Any]],
    state: RescueState,
    one: dict[str, Any],
    reload: Callable[[], None],
) -> Element:
    model = one["model"]
    under = f"Ends: {one['ends'] or 'unknown'}. Project: {PROJECTS}/{one['project']}."
    with w.section(model, under) as card:
        if one["holdout"] != "validation file":
            w.text(DRAWN, "soft note")
        w.text("4. Record its answers", tag="h3")
        _show_recorded(state.recorded[model], state.recordings.get(model))
        box = ui.element("div").classes("stack")
        form = AnswersForm(context, accounts, state, model, box, reload)
        with box, w.row():
            if accounts:
                name = f"Estimate and record {model}"
                made = w.button("Estimate and record", form.show, name=name)
                made.set_enabled(state.active_kind is None)
            else:
                w.text("This takes a key, which is added under 1.", "soft note")
        if state.recorded[model]:
            w.text("5. Compare with the recorded model", tag="h3")
            _compare_step(context, state, one, reload)
        with w.details("Then promote and serve"), ui.element("div").classes("stack"):
            w.text("Run these at a terminal of the machine that serves this page:")
            folder = context.workspace.root / PROJECTS / one["project"]
            lines = [
                f"cd {shlex.quote(str(folder))}",
                *later_commands(model, str(state.files[model])),
            ]
            w.code("\n".join([*lines, serve_command(context, folder)]), f"Commands for {model}")
            w.text("A comparison whose inputs have not changed is read, not made again. Put a "
                   "candidate that is proven to be no worse in the place of AGENT@VERSION.",
                   "soft note")  # fmt: skip
    return card


def _compare_step(
    context: PageContext, state: RescueState, one: dict[str, Any], reload: Callable[[], None]
) -> None:
    """Who is no worse than the model that goes, and the button that finds it out."""
    model, shown = one["model"], state.comparisons.get(one["model"])
    if shown is None:
        w.text("The candidates of its project answer the holdout, too, and it is tested which of "
               "them are no worse than the model that goes. Nothing is sent to it.")  # fmt: skip
    else:
        w.text(shown["sentence"], "strong")
        w.text(shown["meaning"], "soft note")
        numbers = (w.Number("Score"), w.Number("Likely range"))
        ahead = w.Number("Ahead (+) or behind (−)")
        label = f"Candidates beside {model}"
        with w.table("Candidate", *numbers, ahead, "Beside the model that goes", label=label):
            for line in shown["lines"]:
                figures = (line["score"], line["range_"], line["difference"])
                w.line(line["name"], *map(w.Number, figures), line["says"])
        w.text(f"The report is {PROJECTS}/{one['project']}/report.html.", "soft note")

    async def compare() -> None:
        costs = await context.do(read_costs, model)
        if await confirm(
            f"Compare with {model}?",
            "The holdout is opened, which is logged. Where examples, settings or the recording "
            "have changed since it was opened last, this is one more opening, and asks for "
            f"stronger proof. {' '.join(['Candidates that are trained may take hours.', *costs])}",
            "Compare",
        ):
            await context.do(start_comparing, model)
            reload()

    with w.row():
        label = "Compare" if shown is None else "Compare again"
        kind = "primary" if shown is None else ""
        made = w.button(label, compare, kind=kind, icon="balance", name=f"{label} with {model}")
        made.set_enabled(state.active_kind is None)


def _show_recorded(count: int, report: dict[str, Any] | None) -> None:
    if not count:
        w.text("No answer is recorded yet. Once the model is gone, nothing can be compared with "
               "it unless its answers are here.")  # fmt: skip
        return
    w.text(f"{say_count(count, 'answer')} of it {'is' if count == 1 else 'are'} recorded.")
    if report is None:
        return
    if report["left"]:
        were = say_count(report["left"], "was", "were")
        w.text(f"When the last recording ended, {were} missing: {report['left_because']}.")
    w.text(_cost(report))
    if report["cut"]:
        w.text(f"{say_count(report['cut'], 'answer')} reached the limit of its length.")


def _cost(report: dict[str, Any]) -> str:
    """Of all answers that were there when a recording ended; there may be others by now."""
    answers, unpriced = report["answers"], report["unpriced"]
    when = "When the last recording ended"
    if answers and unpriced == answers:
        return f"{when}, it was not known what its {say_count(answers, 'answer')} had cost."
    said = f"{when}, {say_count(answers - unpriced, 'answer')} had cost {usd(report['usd'])}"
    return f"{said}; the cost of {unpriced:,} more was not known." if unpriced else f"{said}."


class AnswersForm:
    """What a recording takes, then its budget; prices are asked where none is known."""

    def __init__(
        self,
        context: PageContext,
        accounts: Sequence[dict[str, Any]],
        state: RescueState,
        model: str,
        box: Element,
        reload: Callable[[], None],
    ) -> None:
        self._context, self._accounts, self._state, self._model = context, accounts, state, model
        self._box, self._reload, self._newest = box, reload, LatestRequest()

    async def show(self) -> None:
        """Estimate, and ask for the budget; anew where another key is chosen, with its prices."""
        with w.refill(self._box):
            which = account_choice(self._accounts, self._state)
            box = ui.element("div").classes("stack")

        async def estimate() -> None:
            await self._estimate(which, box)

        which.on_value_change(estimate)
        await estimate()

    async def _estimate(self, which: ui.select, box: Element) -> None:
        is_latest = self._newest.start()
        with w.refill(box):
            draft = await w.load(
                "Reading the inputs",
                self._context.do(draft_answers, str(which.value), self._model),
                failed="What it takes could not be estimated",
            )
            if draft is None or not is_latest():
                return
            self._show_parts(draft)
            if not draft.requests:
                w.text("All of its answers are recorded.")
                return
            self._show_budget(draft, which)

    def _show_parts(self, draft: RecordingDraft) -> None:
        numbers = (w.Number("Rows"), w.Number("Recorded"), w.Number("Requests"), w.Number("Cost"))
        words = ("Brings a student", "Best for")
        with w.table("Part", *numbers, *words, label=f"What recording {self._model} takes"):
            for part in draft.parts:
                counts = (w.Number(f"{n:,}") for n in (part.rows, part.recorded, part.requests))
                brings = "" if part.teaching is None else part.teaching.short
                w.line(part.part, *counts, w.Number(usd(part.usd)), brings, part.best_for)
        for part in draft.parts:
            if part.teaching is not None:
                w.text(f"{part.part}: {part.teaching.says}")
        minutes = say_count(max(1, round(draft.seconds / 60)), "minute")
        w.text(
            f"{say_count(draft.requests, 'request')}, in this order, in about {minutes}. The "
            "holdout stays closed: its inputs are sent without their answers, which is logged."
        )

    def _show_budget(self, draft: RecordingDraft, which: ui.select) -> None:
        with ui.element("div").classes("split"):
            budget = w.field(
                "Budget in USD",
                number_input(5, least=0, most=MOST_USD, missing=NO_NUMBER),
                "What all answers of this model may cost, earlier ones included.",
                name=f"Budget for {self._model}",
            )
            prices = []
            if draft.price is None:
                for what, setting in (("prompt", "input"), ("answer", "output")):
                    prices.append(
                        w.field(
                            f"USD per million {what} tokens",
                            number_input(missing=NO_NUMBER, of=(TokenPrice, setting)),
                            "From the provider's price list: none is known here.",
                        )
                    )
        with w.row():
            w.button(
                "Record",
                partial(self._record, draft, which, budget, prices),
                kind="primary",
                icon="save",
                name=f"Record answers of {self._model}",
            )

    async def _record(
        self, draft: RecordingDraft, which: ui.select, budget: Any, prices: Sequence[Any]
    ) -> None:
        if not are_valid(budget, *prices):
            return
        account = next(one for one in self._accounts if one["name"] == which.value)
        private = ", ".join(f"{what}: {count}" for what, count in sorted(draft.private.items()))
        found = f"Secrets and personal data found in them: {private}."
        if not private:
            found = "No secrets or personal data were found in them."
        lines = (
            f"{say_count(draft.requests, 'input is', 'inputs are')} sent to {self._model}, for at "
            f"most {usd(budget.value)}.",
            f"{found} The inputs of the holdout were not looked through.",
        )
        if not await ask_to_send(self._context, account, "Record its answers?", lines, "Record"):
            return
        price = None
        if prices:
            price = TokenPrice(input=prices[0].value, output=prices[1].value)
        with errors_at(budget):
            await self._context.do(
                start_recording,
                account["name"],
                self._model,
                most_usd=float(budget.value),
                price=price,
            )
        self._reload()
