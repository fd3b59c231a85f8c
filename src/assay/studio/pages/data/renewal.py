"""A new holdout, with what follows from it, and how the examples were divided."""

from __future__ import annotations

from nicegui import events, ui

from assay.data.dataset import LEAST_NEW_EXAMPLES
from assay.project import jobs
from assay.project.rows import HoldoutSummary
from assay.studio import widgets as w
from assay.studio.dialogs import confirm, notify
from assay.studio.session import PageContext, Refresh, workspace_action
from assay.studio.shared.job_progress import ProgressState
from assay.studio.shared.upload import file_picker, save_files

CONSEQUENCES = (
    "The new examples are locked in the place of those of now, and opened for the first time by "
    "the next comparison.",
    "The locked examples of now may be trained on from then on. Nothing can be measured on them "
    "again.",
    "Verdicts that were reached stay readable. They cannot be held against later ones, which rest "
    "on other examples.",
    "Releases keep what they serve.",
)

renew_holdout = workspace_action("editor", jobs.renew_holdout)


def renewal_form(context: PageContext, found: HoldoutSummary, refresh: Refresh) -> None:
    """How to lock other examples, and when that is worth it."""
    if not context.may("editor"):
        return
    openings = {0: "not been opened yet", 1: "been opened once"}.get(
        found.openings, f"been opened {found.openings} times"
    )
    with w.details("Lock new examples"), ui.element("div").classes("stack"):
        w.text(
            f"The locked examples have {openings}. Each opening makes a verdict harder to reach; "
            "new examples start afresh."
        )
        with ui.element("ul"):
            for sentence in CONSEQUENCES:
                w.text(sentence, "note", "li")
        w.text(
            f"Bring a file of the same form, with at least {LEAST_NEW_EXAMPLES} examples that "
            "nobody has used.",
            "soft",
        )
        file_picker(
            "Choose a file of new examples",
            lambda event: _renew_from(context, event, refresh),
            icon="lock_reset",
        )


async def _renew_from(
    context: PageContext,
    event: events.UploadEventArguments,
    refresh: Refresh,
) -> None:
    name = event.file.name
    event.sender.reset()  # type: ignore[attr-defined]
    if not await confirm(
        f"Lock the examples of {name}?",
        "The locked examples of now may be trained on from then on. This cannot be taken back.",
        "Lock them",
    ):
        return
    ui.notify("The examples are read and divided; with many rows that takes a while.")
    async with save_files([event.file]) as [file]:
        manifest = await context.do(renew_holdout, name, file, ProgressState())
    notify(f"{manifest.holdout:,} new examples are locked. They were never opened.")
    await refresh()


def split_details(found: HoldoutSummary) -> None:
    """How the examples were read and divided, in figures."""
    manifest = found.manifest
    kept_out = manifest.quarantine
    with w.details("How they were read and divided"), ui.element("ul"):
        for line in (
            f"{manifest.rows:,} rows of {manifest.file} (and its like), read as "
            f"{manifest.format}; {manifest.rejected:,} rejected.",
            "Locked are the examples of an official or later file."
            if manifest.official_split
            else f"Locked is a share of the file, drawn with the seed {manifest.seed}.",
            f"The same example stands there again {manifest.duplicates.get('exact', 0):,} "
            f"times, nearly the same {manifest.duplicates.get('near', 0):,} times; they stay "
            "on one side of the lock.",
            f"{kept_out.exact:,} locked examples have an exact twin elsewhere and "
            f"{kept_out.near:,} a near one: {kept_out.train_removed:,} rows to train and "
            f"{kept_out.validation_removed:,} to choose by were kept out for it.",
            f"Locked with {manifest.holdout_sha256}.",
        ):
            w.text(line, "note breaks", "li")
