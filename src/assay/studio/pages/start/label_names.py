"""The labels of the uploaded file, and the new names that are typed beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from nicegui import ui

from assay.data.statistics import count_labels
from assay.project.start.example_file import check_label
from assay.project.start.init import Draft
from assay.studio import widgets as w
from assay.studio.browser import lead_to
from assay.studio.dialogs import errors_at
from assay.studio.shared.findings import SPACE, show_spaces

MOST_RENAMED = 60
"""Labels that are listed to be renamed."""
NOT_RENAMED = "This name is not in the file yet. Press “Rename” below, or put the old name back."
NO_LABEL = "A label cannot be empty. Give it the name of another to join the two."


def labels_to_rename(drafted: Draft | None) -> Counter[str]:
    """Rows of each label of a file; of none where they are too many to be listed."""
    counts = Counter(example.output for example in drafted.examples) if drafted else Counter()
    return counts if len(counts) <= MOST_RENAMED else Counter()


def describe_joins(names: Mapping[str, str]) -> str:
    """What a button does that gives labels the names of others."""
    if len(names) > 1:
        return f"Join {len(names):,} labels that differ only in case or spaces"
    [(old, new)] = names.items()
    return f"Join “{show_spaces(old)}” to “{new}”"


class LabelNames:
    """New names of labels. What was typed and not yet done outlives another change of the file.

    Args:
        typed: new names by the old ones, of an earlier page.
        rename: called with the names to be changed, which may be none.
        keep: called after every change of `typed`.
    """

    def __init__(
        self,
        typed: Mapping[str, str],
        rename: Callable[[dict[str, str]], Awaitable[None]],
        keep: Callable[[], Awaitable[None]],
    ) -> None:
        self.typed = dict(typed)
        self._rename, self._keep = rename, keep
        self._inputs: dict[str, ui.input] = {}
        self._is_open = False

    def show(self, counts: Mapping[str, int]) -> None:
        """All labels with how many rows they have; one that gets another's name is joined to it."""
        self.typed = {old: new for old, new in self.typed.items() if old in counts}
        several, spelled = len(count_labels(counts)), len(counts)
        spellings = f", in {spelled:,} spellings" if several < spelled else ""
        with (
            w.details(
                f"Labels ({several:,}{spellings})",
                is_open=self._is_open or bool(self.typed),
                on_toggle=self._note_open,
            ),
            ui.element("div").classes("stack gap"),
        ):
            w.text("Rename a label, or give it the name of another to join the two.", "soft note")
            if any(show_spaces(label) != label for label in counts):
                w.text(
                    f"{SPACE} stands for a space that is easily overlooked. With one before or "
                    "behind it, a label is another spelling of the same label.",
                    "soft note",
                )
            with w.table("Label", w.Number("Rows"), "New name", label="Labels"):
                self._inputs = {
                    label: self._show_row(label, count) for label, count in sorted(counts.items())
                }

            async def rename() -> None:
                for made in self._inputs.values():
                    made.error = None
                for label, new in sorted(self.typed.items()):
                    with errors_at(self._inputs[label]):
                        check_label(new)
                await self._rename(dict(self.typed))

            with w.row():
                w.button("Rename", rename, icon="edit")

    def _note_open(self, is_open: bool) -> None:
        self._is_open = is_open

    def are_renamed(self) -> bool:
        """Whether all new names that were typed are in the file; told at those that are not: the
        prompt that is proposed has the names of the file."""
        waiting = {old: made for old, made in self._inputs.items() if old in self.typed}
        waiting = {old: made for old, made in waiting.items() if not made.is_deleted}
        for old, made in waiting.items():
            made.error = NOT_RENAMED if self.typed[old].strip() else NO_LABEL
        if waiting:
            lead_to(waiting[min(waiting)])
        return not waiting

    def _show_row(self, label: str, count: int) -> ui.input:
        shown = show_spaces(label)
        with w.cells():
            w.text(shown, "breaks", "td")  # which may begin with `#`, the mark of a number
            w.text(f"{count:,}", "number", "td")
            with ui.element("td"):
                name = ui.input(value=self.typed.get(label, label))
                made = w.label_input(name, f"New name of {shown}")

        async def change() -> None:
            self.typed.pop(label, None)
            if made.value != label:
                self.typed[label] = str(made.value or "")
            await self._keep()

        return made.on_value_change(change)
