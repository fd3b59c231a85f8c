"""The first two steps of Start: the file of examples, and the project that is proposed of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from nicegui import ui
from nicegui.element import Element

from assay.config import STARTER_MODEL
from assay.data.checks import CheckReport
from assay.errors import on_page
from assay.progress import SILENT
from assay.project.agents import drafts
from assay.project.knowledge import documents
from assay.project.start import entries, example_file, from_file
from assay.project.start.entries import ColumnEntries, FormEntries, ProposalEntries
from assay.project.start.from_file import FileFindings, FileProjectOptions
from assay.project.start.init import Draft
from assay.project.start.running_creation import Creation
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.dialogs import advise, confirm, notify
from assay.studio.pages.start.columns import choose_columns, describe_unnamed
from assay.studio.pages.start.creation import creation_card
from assay.studio.pages.start.label_names import LabelNames, describe_joins, labels_to_rename
from assay.studio.pages.start.proposal_form import ProposalForm
from assay.studio.pages.start.turns import choose_turns
from assay.studio.session import PageContext, Refresh, workspace_action
from assay.studio.shared.findings import PERSONAL, found_card, problems_card
from assay.studio.shared.upload import DocumentUpload, remove_document, show_unread
from assay.studio.words import stand_alone

NOT_CHANGED = (".xlsx", ".parquet", ".json", ".gz")
"""Endings of files whose rows are better changed in the program that wrote them."""
CONTRADICTIONS = (
    "Correct rows that have one input and different outputs in your own file and choose “Use "
    "another file”: later, those that are drawn into the holdout cannot be seen here."
)
OTHER_FILE = (
    "This copy of your file, with every change made to it here, and what you have chosen and typed "
    "for the project are discarded. Your own file is unchanged."
)
DOCUMENTS_STAY = " Uploaded documents stay: they can be searched, or removed, with the next file."
LONE = (
    "Rename labels that have only one row under “Labels” below, or correct them in your own file "
    "and choose “Use another file”."
)

STARTING = Creation("Reading the file")

discard = workspace_action("editor", from_file.discard)
keep_entries = workspace_action("editor", entries.keep_entries)
remove_repeats = workspace_action("editor", example_file.remove_repeats)
mask_personal_data = workspace_action("editor", example_file.mask_personal_data)
rename_labels = workspace_action("editor", example_file.rename_labels)
create_project = workspace_action("editor", from_file.create_from)


class ProposalStep:
    """What is in the file, and what is proposed; an answer of the person makes a new proposal.

    Args:
        failed: what is said of the last try to create it, until the next one; "" for nothing.
    """

    def __init__(self, context: PageContext, refresh: Refresh, failed: str = "") -> None:
        self._context, self._refresh = context, refresh
        self._failed = w.text(failed, "bad")
        self._failed.set_visibility(bool(failed))
        said = entries.read_entries(context.workspace)
        self._wanted, self._entries = said.options, said.form
        self._names = LabelNames(said.names, self._rename, self._keep)
        self._columns = said.columns
        self._keeping, self._is_kept = asyncio.Lock(), True
        self._documents: list[str] = []
        self._form: ProposalForm | None = None
        self._doing, self._is_list_open = "", False
        self._unnamed: Element | None = None
        file = example_file.find_file(context.workspace)
        assert file is not None
        self._file = file
        self._name = example_file.read_origin(context.workspace, file).name

    async def show(self) -> None:
        """Show the step; the file is read behind a first paint."""
        self._documents = await self._context.read(from_file.list_documents)
        self._all = ui.element("div").classes("stack gap")
        with self._all:
            await self._show_parts()

    async def _show_parts(self) -> None:
        self._shown = ui.element("div").classes("stack gap")
        if self._context.may("editor"):
            await self._show_upload()
        self._proposed = ui.element("div").classes("stack gap")
        ui.timer(0.05, self._inspect, once=True)

    async def _inspect(self, **answers: Any) -> None:
        self._leave_form()
        self._wanted = replace(self._wanted, **answers)
        if answers:
            await self._keep()
        self._shown.clear()
        self._proposed.clear()
        with self._shown:
            found = await w.load(f"Reading {self._name}", self._read(self._wanted))
            if found is None:
                with w.row("centred"):
                    self._show_restart()
                    if self._wanted.input is not None:
                        again = partial(self._inspect, **dict.fromkeys(from_file.COLUMNS))
                        w.button("Choose other columns", again, icon="view_column")
                return
            if found.report is None:
                self._show_columns(found)
                return
            self._show_findings(found, found.report)
        with self._proposed:
            if found.draft is not None:
                self._show_proposal(found.draft)
            elif found.question is not None:
                with w.section(
                    "A project cannot be created from this file yet",
                    stand_alone(found.question.what),
                    style="lost",
                ):
                    if found.question.fix:  # it was not raised, which would have turned it
                        w.sentence(on_page(found.question.fix, self._context.title), "soft")
                    with w.row():
                        self._show_restart()

    def _show_findings(self, found: FileFindings, report: CheckReport) -> None:
        """What is in the file, what to look at first, and how it can be mended here."""
        found_card(found, is_task_chosen=self._wanted.task is not None)
        if found.draft is not None and self._context.may("editor"):
            choose_turns(found.draft, lambda format: self._inspect(format=format))
        self._unnamed = None
        if note := describe_unnamed(found, self._documents):
            self._unnamed = w.text(note, "warn note")
            self._unnamed.set_visibility(not self._doing)
        problems_card(report)
        labels = labels_to_rename(found.draft) if self._may_rename(found) else {}
        if labels and report.counts.get("lone-label"):
            w.text(LONE, "warn note")
        if report.counts.get("contradiction"):
            w.text(CONTRADICTIONS, "warn note")
        self._show_repairs(found, report)
        if labels:
            self._names.show(labels)

    def _leave_form(self) -> None:
        """Remember what is in the form, which is about to be made anew."""
        if self._form is not None:
            self._entries, self._form = self._form.entries(), None

    async def _keep(self) -> None:
        """Keep what was said and typed so far: the page may be left, or loaded again.

        Of changes that come faster than they are written, the last is.
        """
        self._is_kept = False
        async with self._keeping:
            if self._is_kept or not self._context.may("editor"):
                return
            self._is_kept = True
            form = self._entries if self._form is None else self._form.entries()
            typed = dict(self._names.typed)
            said = ProposalEntries(self._wanted, form, typed, self._columns)
            await self._context.do(keep_entries, self._file, said)

    async def _read(self, wanted: FileProjectOptions) -> FileFindings:
        return await self._context.read(from_file.look, self._file, wanted, SILENT)

    async def _show_upload(self) -> None:
        async def update() -> None:
            self._documents = await self._context.read(from_file.list_documents)
            self._show_listed(listed, update)
            upload.forget_removed(self._documents)
            upload.show_failed(await self._context.read(documents.failures, from_file.KNOWLEDGE))
            if self._form is None:
                return
            found = await self._read(self._wanted)
            if self._form is None or found.draft is None or found.report is None:
                return  # another proposal is being made
            with w.refill(self._shown):
                self._show_findings(found, found.report)
            self._form.show_documents(bool(self._documents), found.draft.choices.abstain)
            self._form.show_grading(found.draft.proposal)

        def set_reading(doing: str) -> None:
            self._doing = doing
            # Which documents are there is not known yet.
            if self._unnamed is not None and not self._unnamed.is_deleted:
                self._unnamed.set_visibility(not doing)
            if self._form is not None:
                self._form.set_reading(doing)

        what = (
            "Should answers be based on documents?",
            "Upload manuals, policies or price lists, and candidates that search them take part. "
            "You can skip this.",
        )
        upload = DocumentUpload(self._context, from_file.KNOWLEDGE, update, what, set_reading)
        listed = ui.element("div")
        self._show_listed(listed, update)
        upload.show_failed(await self._context.read(documents.failures, from_file.KNOWLEDGE))
        await show_unread(self._context, from_file.KNOWLEDGE, update)

    def _show_listed(self, listed: Element, update: Refresh) -> None:
        """The documents that can be searched; one that was brought by mistake is taken out."""

        async def remove(name: str) -> None:
            if await confirm(f"Remove {name}?", "Your own file is unchanged.", "Remove"):
                await self._context.do(remove_document, from_file.KNOWLEDGE, name)
                notify(f"{name} was removed.")
                await update()

        def note_open(is_open: bool) -> None:
            self._is_list_open = is_open

        with w.refill(listed):
            if not self._documents:
                return
            with w.details(
                f"Documents that can be searched ({len(self._documents):,})",
                is_open=self._is_list_open,
                on_toggle=note_open,
            ):
                for name in self._documents:
                    with w.row():
                        w.text(name, "note", "span")
                        act, label = partial(remove, name), f"Remove {name}"
                        w.button("Remove", act, kind="link danger", name=label)

    def _show_repairs(self, found: FileFindings, report: CheckReport) -> None:
        """What can be put right at once: in the copy that was uploaded, or the choice of columns.

        Args:
            report: of the findings.
        """
        personal = sum(report.counts.get(code, 0) for code in PERSONAL)
        may_change = self._may_change()
        labels = report.statistics.outputs if self._may_rename(found) else None
        joins = example_file.find_joins(labels or {})

        async def remove() -> None:
            count = await self._context.do(remove_repeats, self._wanted.columns)
            notify(
                f"{say_count(count, 'repeated row')} removed from this copy. Your own file is "
                "unchanged, and lines are counted as in it."
            )
            await self._inspect()

        async def hide() -> None:
            asked = self._wanted.columns, found.draft
            count = await self._context.do(mask_personal_data, *asked)
            notify(
                f"Personal data is replaced in {say_count(count, 'row')}. IDs and groups that are "
                "no input, labels and values of closed lists stay as they are."
            )
            await self._inspect()

        if self._context.may("editor") and not may_change and (report.exact or personal):
            w.text(
                f"Rows of {self._file.suffix} files cannot be changed here. Change the file in the "
                "program that wrote it, then choose “Use another file” and bring it again.",
                "soft note",
            )
        with w.row():
            # A dialogue is not repeated because one of its turns is.
            if may_change and report.exact and report.records == report.rows:
                what = say_count(report.exact, "repeated row")
                w.button(f"Remove {what}", remove, icon="filter_list")
            if may_change and personal:
                w.button("Mask secrets and personal data", hide, icon="visibility_off")
            if joins:
                w.button(describe_joins(joins), lambda: self._rename(joins), icon="merge")
            self._show_other_columns(found)

    def _may_rename(self, found: FileFindings) -> bool:
        """Whether the labels stand in one column of a file that can be changed."""
        drafted = found.draft
        if drafted is None or drafted.proposal.labels is None or drafted.columns is None:
            return False
        return self._may_change() and len(drafted.columns.output) == 1

    async def _rename(self, names: dict[str, str]) -> None:
        columns = self._wanted.columns
        count = await self._context.do(rename_labels, columns, names) if names else 0
        if not count:
            advise("No label was changed. Type another name beside the one to be renamed.")
            return
        notify(f"{say_count(count, 'row has', 'rows have')} another label now.")
        # Whoever renames labels has agreed that they are labels, however the new ones look.
        await self._inspect(kept_task="label")

    def _may_change(self) -> bool:
        editor = self._context.may("editor")
        return editor and self._file.suffix.lower() not in NOT_CHANGED

    def _show_restart(self) -> None:
        async def click() -> None:
            is_begun = self._form is not None or self._entries != FormEntries()
            stays = DOCUMENTS_STAY if self._documents or self._doing else ""
            if (is_begun or self._wanted != FileProjectOptions()) and not await confirm(
                "Use another file?", f"{OTHER_FILE}{stays}", "Use another file"
            ):
                return
            await self._context.do(discard)
            await self._refresh()

        if self._context.may("editor"):
            w.button("Use another file", click, icon="undo")

    def _show_other_columns(self, found: FileFindings) -> None:
        """A button that leads back to the choice of columns, where there is one."""
        if found.report is None or found.report.columns is None or not found.fields:
            return

        def choose() -> None:
            self._leave_form()
            self._proposed.clear()
            with w.refill(self._shown):
                self._show_columns(found)

        if self._context.may("editor"):
            w.button("Choose other columns", choose, icon="view_column")

    def _document_of(self, found: FileFindings) -> str | None:
        """The column that names documents, as it was chosen or is proposed."""
        if found.draft is not None and found.draft.columns is not None:
            return found.draft.columns.document
        return self._wanted.document or None

    def _show_columns(self, found: FileFindings) -> None:
        chosen = self._columns
        if found.report is not None and (now := found.report.columns) is not None:
            named = self._document_of(found)
            chosen = ColumnEntries(tuple(now.input), tuple(now.output), now.group, named)

        async def keep(columns: ColumnEntries) -> None:
            self._columns = columns
            await self._keep()

        choose_columns(found, chosen, keep, lambda of: self._inspect(**of), self._show_restart)

    def _show_proposal(self, drafted: Draft) -> None:
        with w.card("accent"):
            under = "Keep it as it is or change it. You can change everything later."
            w.heading("Proposed project", under)
            if not self._context.may("editor"):
                w.text("An editor can continue from here.", "soft")
                return
            self._form = ProposalForm(
                drafted.proposal,
                self._entries,
                drafted.choices.abstain,
                {example.output.strip() for example in drafted.examples},
                has_documents=bool(self._documents),
                change_task=lambda task: self._inspect(task=task),
                create=self._create,
                refuse_prompt=lambda prompt: self._context.read(
                    drafts.refuse_prompt, STARTER_MODEL, prompt
                ),
                show_restart=self._show_restart,
                keep=self._keep,
            )
            self._form.set_reading(self._doing)

    async def _create(self, chosen: FileProjectOptions) -> None:
        if not self._names.are_renamed():
            return
        wanted = replace(
            self._wanted,
            candidates=chosen.candidates,
            system_prompt=chosen.system_prompt,
            good_enough=chosen.good_enough,
            monthly_requests=chosen.monthly_requests,
            machine_hour_usd=chosen.machine_hour_usd,
            machine_hours_per_month=chosen.machine_hours_per_month,
            abstain=chosen.abstain,
        )
        self._failed.set_visibility(False)
        self._all.set_visibility(False)
        assert self._all.parent_slot is not None
        with self._all.parent_slot, ui.element("div") as card:
            creation_card(self._context, STARTING, is_awaited=True)
        try:
            await self._context.do(create_project, self._file, wanted)
        except Exception:  # it is told, and what was typed is still there
            if not card.is_deleted:
                card.delete()
                self._all.set_visibility(True)
            raise
        if not card.is_deleted:  # else the page was loaded again meanwhile, and shows it
            await self._refresh()
