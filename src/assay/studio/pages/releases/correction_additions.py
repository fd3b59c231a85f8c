"""Corrections of a release's traces on Releases: saved, and added to the examples."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from nicegui import ui

from assay.data.problems import name_causes
from assay.project import row_edits
from assay.project.addition import Addition
from assay.project.releases import corrections
from assay.project.releases.corrections import UnaddedCorrections
from assay.quantities import say_count
from assay.release.examples import ExportedExamples
from assay.studio import widgets as w
from assay.studio.dialogs import advise, notify
from assay.studio.session import LatestRequest, PageContext, workspace_action
from assay.studio.shared.findings import tell_addition
from assay.studio.shared.job_progress import ProgressState
from assay.studio.words import stand_alone

add_examples = workspace_action("editor", row_edits.add)
write_examples = workspace_action("editor", corrections.save)


class CorrectionAdditions:
    """What could be added to the examples now, and below it what was done last."""

    def __init__(self, context: PageContext, name: str) -> None:
        self._context, self._name, self._latest = context, name, LatestRequest()
        self._looking = asyncio.Lock()
        self._offered = ui.element("div").classes("stack").props("role=status")
        self._told = ui.element("div").classes("stack").props("role=status")

    async def look(self) -> None:
        """Offer what could be added; called again whenever that may have changed."""
        if not self._context.may("editor"):
            return
        is_latest = self._latest.start()
        async with self._looking:  # who marks one answer after another has all examples read once
            if not is_latest():
                return
            found = await self._context.read(corrections.find_unadded, self._name)
        if not is_latest():
            return
        with w.refill(self._offered):
            if found is not None and (config := self._context.workspace.config) is not None:
                add = partial(self._add, found)
                w.text(describe_offer(found, config.data.file))
                with w.row():
                    w.button("Add them to the examples", add, kind="primary", icon="playlist_add")

    async def save(self) -> None:
        """Save the corrections that are in no file yet, and offer to add them."""
        if (written := await self._write()) is None:
            return
        with w.refill(self._told):
            w.text(describe_saved(f"data/{Path(written.file or '').name}", written))
            if written.rejected:
                w.text(f"Why: {describe_rejected(written)}", "warn note")
        await self.look()

    async def _add(self, found: UnaddedCorrections) -> None:
        if await self._context.read(corrections.find_unadded, self._name) != found:
            await self.look()
            advise("Corrections or examples have changed since this was offered. Look at it again.")
            return
        if found.file is not None:
            file, where = self._context.workspace.root / found.file, found.file
        else:
            if (written := await self._write()) is None:
                await self.look()  # somebody else has saved them
                return
            file = Path(written.file or "")
            where = f"data/{file.name}"
        added = await self._context.do(add_examples, file, where, ProgressState())
        with w.refill(self._told):
            w.text(describe_added(where, added))
            tell_addition(added)
            if added.used:
                which = "them" if added.used == added.added else "the others"
                w.text(f"The next comparison or training uses {which}.", "soft note")
            w.link("Look at the examples", "/data")
        await self.look()

    async def _write(self) -> ExportedExamples | None:
        """Save corrections; None: there were none to save, and why is told."""
        written = await self._context.do(write_examples, self._name)
        if written.file is not None:
            return written
        if written.rejected:
            why = describe_rejected(written)
            advise(f"No correction that is not saved yet could be used: {why}")
        else:
            notify("All corrections were saved before.")
        return None


def describe_rejected(written: ExportedExamples) -> str:
    """Why corrections could not be used, as far as errors are counted, and where they are."""
    file = Path(written.rejected_file or "").name
    where = f"{name_causes(written.counts)}. They are in data/{file}."
    return f"{where} {stand_alone(written.prompt or '')}".rstrip()


def describe_saved(file: str, written: ExportedExamples) -> str:
    """What was saved in a new file, and how much could not be used."""
    saved = say_count(written.written, "correction was", "corrections were")
    rejected = f"; {written.rejected:,} could not be used" if written.rejected else ""
    return f"{saved} saved in {file}{rejected}."


def describe_offer(found: UnaddedCorrections, read: str) -> str:
    """What could be added to the examples.

    Args:
        read: the file of examples that assay.yaml names.
    """
    file = "" if found.file is None else f" in {found.file}"
    said = say_count(found.count, "correction") + f"{file} can become training data"
    if found.rejected:
        said += f"; {found.rejected:,} could not be used"
    said += f". Nothing is trained on them before they are added to {read}, the examples of this "
    said += "project."
    if found.there:
        said += f" {found.there:,} of them {'is' if found.there == 1 else 'are'} there already."
    if found.contradicting:
        said += (
            f" For {found.contradicting:,} of them, an example with the same input has another "
            "answer: one of the two is wrong."
        )
    return said


def describe_added(file: str, added: Addition) -> str:
    """What became of the corrections of a file that were to be added, all of them if possible."""
    there = added.added + added.repeated
    count = there + added.unfit + added.rejected
    if there >= count:
        are = "It is" if count == 1 else f"All {count:,} are"
        which = f"{are} in {added.file}, the examples of this project."
    else:
        some = f"{there:,} of them {'is' if there == 1 else 'are'}" if there else "None of them is"
        others = "the others were" if there else "they were"
        which = f"{some} in {added.file}, the examples of this project; {others} left out."
    return f"{say_count(count, 'correction')} stood in {file}. {which}"
