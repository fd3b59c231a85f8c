"""The form of a proposed project. What a person has put into it outlives a new proposal."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from assay.candidates import registry
from assay.candidates.spec import DOCUMENTS
from assay.compare.report.assumptions import of_people
from assay.config import Config, Costs, TaskKind, labels_in
from assay.data.propose import Proposal
from assay.project.start.entries import FormEntries
from assay.project.start.from_file import FileProjectOptions
from assay.studio import widgets as w
from assay.studio.dialogs import errors_at
from assay.studio.session import LatestRequest
from assay.studio.shared.candidates import ALWAYS, CandidateBoxes
from assay.studio.shared.controls import TYPING, check_length
from assay.studio.shared.findings import TASKS, show_spaces
from assay.studio.shared.grading import explain_grading
from assay.studio.shared.numbers import NO_NUMBER, are_valid, number_input, to_share

NOT_THERE = (
    "No example has this answer, so a comparison counts it as wrong wherever it is given. If your "
    "examples say it in other words, copy those."
)


class ProposalForm:
    """The fields, and the button that creates the project.

    Args:
        entries: of an earlier form, which are put into this one.
        abstain: what is proposed to be said where no document has the answer.
        answers: that the examples have.
        change_task: called with the task that was chosen.
        create: called with what was chosen.
        refuse_prompt: says why no request could be answered below a system prompt; "": some could.
        show_restart: makes a button that begins with another file.
        keep: called after every change, see `entries`.
    """

    def __init__(
        self,
        proposal: Proposal,
        entries: FormEntries,
        abstain: str | None,
        answers: Collection[str],
        *,
        has_documents: bool,
        change_task: Callable[[TaskKind], Awaitable[None]],
        create: Callable[[FileProjectOptions], Awaitable[None]],
        refuse_prompt: Callable[[str], Awaitable[str]],
        show_restart: Callable[[], None],
        keep: Callable[[], Awaitable[None]],
    ) -> None:
        self._proposal, self._entries, self._create = proposal, entries, create
        self._refuse_prompt, self._prompts = refuse_prompt, LatestRequest()
        self._proposed_abstain, self._answers = abstain, answers
        with w.row("top-aligned"):
            task = w.field("Task", ui.select(dict(TASKS), value=proposal.task))
            self._enough = w.field(
                "Minimum score (%)",
                number_input(entries.good_enough, least=1, most=100, unit=" %"),
                "The lowest score at which a candidate is worth using, as 90. Empty: no minimum.",
            )
        with w.row("top-aligned"):
            self._monthly = w.field(
                "Requests per month",
                number_input(
                    entries.monthly_requests,
                    whole=True,
                    missing=NO_NUMBER,
                    of=(Config, "monthly_requests"),
                ),
                "How often it will be called. Determines which candidate is cheapest.",
            )
            self._machine = w.field(
                "Price of a machine hour (USD)",
                number_input(entries.machine_hour_usd, of=(Costs, "machine_hour_usd")),
                "Of the machine that will answer. Empty: not known.",
            )
            self._hours = w.field(
                "Machine hours per month",
                number_input(
                    entries.machine_hours,
                    missing=NO_NUMBER,
                    of=(Costs, "machine_hours_per_month"),
                ),
                "That it is kept on for this. 0: it is there anyway.",
            )
        w.text(
            f"Costs also assume {of_people(Costs())}. You can change this in Settings.", "soft note"
        )
        task.on_value_change(lambda: change_task(task.value))
        self._grading = w.text("", "soft note")
        self.show_grading(proposal)
        self._of_documents = ui.element("div")
        with self._of_documents:
            kept = abstain if entries.abstain is None else entries.abstain
            self._abstain = w.field(
                "Answer where no document has one",
                ui.input(value=kept or ""),
                "Word for word as in your examples. Empty: every input has an answer.",
            )
            self._not_there = w.text(NOT_THERE, "warn note").props("role=status")
            self._abstain.on_value_change(self._look_for_abstention)
            self._look_for_abstention()
        w.text("Candidates", "field-label", "div")
        lists = labels_in(proposal.schema) is not None
        offered = registry.offer(task=proposal.task, documents=True, lists=lists)
        usual = registry.propose_candidates(task=proposal.task, documents=True, lists=lists)
        self._usual = frozenset(usual)
        self._searching = {name for name, spec in offered.items() if DOCUMENTS in spec.needs}
        self._always = {name for name, spec in offered.items() if spec.baseline}
        self._has_documents = False
        chosen = {
            name
            for name in offered.keys() - self._searching
            if entries.ticks.get(name, name in proposal.candidates)
        }
        self._boxes = CandidateBoxes(offered, chosen)
        self._boxes.include_always(self._always)
        w.text(ALWAYS, "soft note")
        self.show_documents(has_documents, abstain)
        self._tell_what_does_not_fit()
        label = "System prompt"
        with w.details(label):
            text = proposal.system_prompt
            if entries.system_prompt is not None:
                text = entries.system_prompt
            self._prompt = w.label_input(
                ui.textarea(value=text).props("autogrow").props(TYPING), label
            )
            self._too_long = w.text("", "warn note").props("role=status")
        self._prompt.on_value_change(lambda: self._stale.set_visibility(False))
        self._prompt.on_value_change(self._look_at_prompt)
        self._shown_prompt = text
        with w.row():
            self._go = w.button("Create project", self._click, kind="primary", icon="check")
            show_restart()
        made: tuple[ValueElement[Any], ...] = (
            self._enough,
            self._monthly,
            self._machine,
            self._hours,
            self._abstain,
            self._prompt,
            *self._boxes.boxes.values(),
        )
        for one in made:
            one.on_value_change(keep)
        self._reading = w.text("", "soft note").props("role=status")
        self.set_reading("")

    async def _look_at_prompt(self) -> None:
        is_latest = self._prompts.start()
        refused = await self._refuse_prompt(self._prompt.value or "")
        if is_latest():
            self._too_long.text = refused

    def entries(self) -> FormEntries:
        """What was typed and ticked so far."""
        proposed, prompt = self._proposal.system_prompt, self._prompt.value or ""
        abstain = self._abstain.value or ""
        offered = self._boxes.boxes
        free = {name: box for name, box in offered.items() if name not in self._always}
        # Of candidates of another task: it may be chosen again.
        ticks = {name: on for name, on in self._entries.ticks.items() if name not in offered}
        stale = self._entries.system_prompt is not None and prompt == self._shown_prompt
        ticks |= {
            name: box.value for name, box in free.items() if box.value != self._is_proposed(name)
        }
        return FormEntries(
            system_prompt=None if prompt == proposed else prompt,
            proposed_prompt=self._entries.proposed_prompt if stale else proposed,
            labels=self._entries.labels if stale else tuple(self._proposal.labels or ()),
            good_enough=self._enough.typed,
            monthly_requests=self._monthly.typed,
            machine_hour_usd=self._machine.typed,
            machine_hours=self._hours.typed,
            ticks=ticks,
            abstain=None if abstain == (self._proposed_abstain or "") else abstain,
        )

    def show_grading(self, proposal: Proposal) -> None:
        """Say how answers are judged; documents that came later may have changed it."""
        graders = {one.label: one for one in proposal.graders}
        decides = graders.get(proposal.primary)
        self._grading.text = "" if decides is None else explain_grading(decides)

    def show_documents(self, has_documents: bool, abstain: str | None) -> None:
        """Offer what documents make possible, or not.

        Args:
            abstain: what is proposed to be said where none has the answer.
        """
        had, self._has_documents = self._has_documents, has_documents
        if had != has_documents:  # which are hidden, and so not taken, without documents
            for name in self._searching - self._always:
                chosen = self._entries.ticks.get(name, self._is_proposed(name))
                self._boxes.boxes[name].value = has_documents and chosen
        if (self._abstain.value or "") == (self._proposed_abstain or ""):
            self._abstain.value = abstain or ""
        self._proposed_abstain = abstain
        self._of_documents.set_visibility(has_documents)
        offered = self._boxes.boxes.keys()
        self._boxes.show(offered if has_documents else offered - self._searching)

    def _look_for_abstention(self) -> None:
        said = (self._abstain.value or "").strip()
        self._not_there.set_visibility(bool(said) and said not in self._answers)

    def set_reading(self, doing: str) -> None:
        """Wait with the project while documents are being read.

        Args:
            doing: what is being done; "" when nothing is.
        """
        self._go.set_enabled(not doing)
        self._reading.text = f"{doing}. The project can be created when they are read."
        self._reading.set_visibility(bool(doing))

    def _is_proposed(self, name: str) -> bool:
        if name in self._searching:
            return self._has_documents and name in self._usual
        return name in self._proposal.candidates

    def _tell_what_does_not_fit(self) -> None:
        entries, specs = self._entries, registry.specs()
        changed = entries.proposed_prompt != self._proposal.system_prompt
        prompt = entries.system_prompt
        gone = list_gone(prompt or "", entries.labels, self._proposal.labels or ())
        names = ", ".join(f"“{show_spaces(one)}”" for one in gone)
        more = f" It still names labels that are not in the file any more: {names}." if gone else ""
        self._stale = w.text(
            "The system prompt that you wrote was kept. Check that it fits what has changed."
            f"{more}",
            "warn note",
        )
        self._stale.set_visibility(prompt is not None and changed)
        lost = [
            specs[name].title
            for name, ticked in entries.ticks.items()
            if ticked and name not in self._boxes.boxes
        ]
        if lost:
            w.text(f"Not available for this task: {', '.join(lost)}.", "warn note")

    async def _click(self) -> None:
        shown = self._boxes.is_shown
        chosen = tuple(name for name, box in self._boxes.boxes.items() if box.value and shown(name))
        self._boxes.told.text = "" if chosen else "Select at least one candidate."
        for text in (self._abstain, self._prompt):
            with errors_at(text):
                check_length(text.value)
        if not chosen or not are_valid(self._enough, self._monthly, self._machine, self._hours):
            return
        self._go.props("loading")
        enough = self._enough.value
        options = replace(
            FileProjectOptions(),
            candidates=chosen,
            system_prompt=self._prompt.value,
            good_enough=None if enough is None else to_share(enough),
            monthly_requests=int(self._monthly.value),
            machine_hour_usd=None if self._machine.value is None else float(self._machine.value),
            machine_hours_per_month=float(self._hours.value),
            abstain=(self._abstain.value or "").strip() if self._has_documents else None,
        )
        try:
            await self._create(options)
        finally:
            if not self._go.is_deleted:
                self._go.props(remove="loading")


def list_gone(prompt: str, labels: Iterable[str], now: Iterable[str]) -> list[str]:
    """Those of the labels that a prompt has and the file has no more, without spaces around them:
    in neither they make another label."""
    kept = {one.strip() for one in now}
    gone = dict.fromkeys(one.strip() for one in labels)
    return [one for one in gone if one not in kept and _names(prompt, one)]


def _names(prompt: str, label: str) -> bool:
    """Whether a prompt has a label, not as a part of another word."""
    return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", prompt) is not None
