"""A new holdout, with what follows from it, and how the examples were divided."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import events, ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from assay.data.dataset import LEAST_NEW_EXAMPLES
from assay.data.problems import describe_repeated
from assay.data.split import SplitManifest
from assay.project import jobs
from assay.project.holdout_summary import HoldoutSummary
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.dialogs import advise, confirm, notice_while, notify
from assay.studio.session import PageContext, Refresh, workspace_action
from assay.studio.shared.files import failures_in, file_picker, save_files, tell_failure
from assay.studio.shared.job_progress import ProgressState

CONSEQUENCES = (
    "The new examples replace the current holdout. The next comparison opens them for the first "
    "time.",
    "The current holdout may then be used for training. Nothing can be measured on it again.",
    "Earlier verdicts stay readable. They cannot be compared with later ones, which are based on "
    "other examples.",
    "Releases do not change.",
)
NOT_REPLACED = "The holdout was not replaced"

renew_holdout = workspace_action("editor", jobs.renew_holdout)


class OpeningCount:
    """How often the present holdout was opened, in every text of the page that says so."""

    def __init__(self) -> None:
        self._count = 0
        self._texts: list[tuple[TextElement, Callable[[int], str]]] = []

    def show(self, count: int) -> None:
        """Let the texts say another number."""
        self._count = count
        self._texts = [(made, say) for made, say in self._texts if not made.is_deleted]
        for made, say in self._texts:
            made.text = say(count)

    def add(self, made: TextElement, say: Callable[[int], str]) -> None:
        """Let a text say the number, now and whenever it changes."""
        self._texts.append((made, say))
        made.text = say(self._count)


def renewal_form(context: PageContext, openings: OpeningCount, refresh: Refresh) -> None:
    """How to lock other examples, and when that is worth it."""
    if not context.may("editor"):
        return
    with w.details("Replace the holdout"), ui.element("div").classes("stack"):
        openings.add(w.text(""), _describe_openings)
        with ui.element("ul"):
            for sentence in CONSEQUENCES:
                w.text(sentence, "note", "li")
        w.text(
            "Upload a file in the same format, or a workbook or another table with the same "
            f"columns, with at least {LEAST_NEW_EXAMPLES} examples that nobody has used.",
            "soft",
        )
        file_picker(
            "Choose a file of new examples",
            lambda event: _renew_from(context, event, told, refresh),
            icon="lock_reset",
            on_refused=lambda error: tell_failure(told, NOT_REPLACED, error),
        )
        told = ui.element("div").classes("stack").props("role=status")


def _describe_openings(count: int) -> str:
    opened = {0: "not been opened yet", 1: "been opened once"}.get(
        count, f"been opened {count} times"
    )
    return (
        f"The holdout has {opened}. Each opening makes a verdict harder to reach; a new holdout "
        "starts from zero."
    )


async def _renew_from(
    context: PageContext,
    event: events.UploadEventArguments,
    told: Element,
    refresh: Refresh,
) -> None:
    name = event.file.name
    event.sender.reset()  # type: ignore[attr-defined]
    if not await confirm(
        f"Replace the holdout with the examples in {name}?",
        "The current holdout may then be used for training. This cannot be undone. Nothing changes "
        f"if the file has fewer than {LEAST_NEW_EXAMPLES} usable examples or some that were seen "
        "before.",
        "Replace",
    ):
        return
    reading = "Reading and splitting the examples. With many rows this takes a while."
    with notice_while(reading), failures_in(told, NOT_REPLACED):
        async with save_files([event.file]) as [file]:
            manifest = await context.do(renew_holdout, name, file, ProgressState())
    said = f"The new holdout has {say_count(manifest.holdout, 'example')}. It was never opened."
    if manifest.warnings:
        advise(" ".join([said, *manifest.warnings]))
    else:
        notify(said)
    await refresh()


def split_details(found: HoldoutSummary, validation: str | None) -> None:
    """How the examples were read and divided, in figures; `validation`: see `describe_read`."""
    manifest = found.manifest
    kept_out = manifest.quarantine
    with w.details("How the examples were read and split"), ui.element("ul"):
        for line in (
            describe_read(manifest, validation),
            "The holdout is an official test file or a file that was added later."
            if manifest.official_split
            else f"The holdout is a share of the file, drawn with the seed {manifest.seed}.",
            f"{describe_repeated(manifest.problems, manifest.duplicates.get('near', 0))} When "
            "the examples are split, such rows stay in the same part.",
            kept_out.sentence,
            f"The SHA-256 of the holdout is {manifest.holdout_sha256}.",
        ):
            w.text(line, "note breaks", "li")


def describe_read(manifest: SplitManifest, validation: str | None) -> str:
    """How many rows were read of which files, and how.

    Args:
        validation: the file with rows of validation; None: these are a share of the examples.
    """
    has_others = manifest.official_split or validation is not None
    others = " and of files that belong to it" if has_others else ""
    return (
        f"{say_count(manifest.rows, 'row')} of {manifest.file}{others}, read as "
        f"{manifest.format}; {manifest.rejected:,} rejected."
    )
