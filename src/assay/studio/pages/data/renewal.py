"""A new holdout: what follows is told before, and asked for once more."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from nicegui import events, ui

from assay.data.dataset import LEAST_NEW_EXAMPLES
from assay.data.split import SplitManifest
from assay.progress import Progress
from assay.project import jobs
from assay.project.rows import Locked
from assay.studio.dialogs import say, sure, telling
from assay.studio.session import Visit, action
from assay.studio.shared.upload import Told
from assay.studio.widgets import button, row, text

CONSEQUENCES = (
    "The new examples are locked in the place of those of now, and opened for the first time by "
    "the next comparison.",
    "The locked examples of now may be trained on from then on. Nothing can be measured on them "
    "again.",
    "Verdicts that were reached stay readable. They cannot be held against later ones, which rest "
    "on other examples.",
    "Releases keep what they serve.",
)


@action("editor")
def renew(visit: Visit, name: str, file: Path, progress: Progress) -> SplitManifest:
    """Lock a new holdout."""
    return jobs.renew_holdout(visit.workspace, name, file, progress)


def renewing(visit: Visit, found: Locked, refresh: Callable[[], Awaitable[None]]) -> None:
    """How to lock other examples, and when that is worth it."""
    if not visit.may("editor"):
        return
    times = {0: "not been opened yet", 1: "been opened once"}.get(
        found.openings, f"been opened {found.openings} times"
    )
    with ui.element("details"):
        text("Lock new examples", tag="summary")
        with ui.element("div").classes("stack"):
            text(
                f"The locked examples have {times}. Each opening makes a verdict harder to reach; "
                "new examples start afresh."
            )
            with ui.element("ul"):
                for sentence in CONSEQUENCES:
                    text(sentence, "note", "li")
            text(
                f"Bring a file of the same form, with at least {LEAST_NEW_EXAMPLES} examples that "
                "nobody has used.",
                "soft",
            )
            upload = ui.upload(auto_upload=True).classes("picked-only")
            upload.on_upload(lambda event: _brought(visit, event, upload, refresh))
            upload.on("rejected", lambda: say("This file is too large."))
            with row():
                button(
                    "Choose a file of new examples",
                    lambda: upload.run_method("pickFiles"),
                    icon="lock_reset",
                )


async def _brought(
    visit: Visit,
    event: events.UploadEventArguments,
    upload: ui.upload,
    refresh: Callable[[], Awaitable[None]],
) -> None:
    name = event.file.name
    upload.reset()
    if not await sure(
        f"Lock the examples of {name}?",
        "The locked examples of now may be trained on from then on. This cannot be taken back.",
        "Lock them",
    ):
        return
    with telling(), tempfile.TemporaryDirectory() as folder:
        ui.notify("The examples are read and divided; with many rows that takes a while.")
        file = Path(folder) / f"new{Path(name).suffix}"
        await event.file.save(file)
        manifest = await visit.do(renew, name, file, Told())
        say(f"{manifest.holdout:,} new examples are locked. They were never opened.")
        await refresh()


def how_divided(found: Locked) -> None:
    """How the examples were read and divided, in figures."""
    manifest = found.manifest
    kept_out = manifest.quarantine
    with ui.element("details"):
        text("How they were read and divided", tag="summary")
        with ui.element("ul"):
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
                text(line, "note breaks", "li")
