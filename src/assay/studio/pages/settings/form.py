"""The form of a project's settings: what an ordinary user changes, in plain words.

Everything else is changed in the text beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nicegui import ui

from assay.candidates import registry
from assay.candidates.registry import specs
from assay.config import Config
from assay.errors import UsageError
from assay.project import settings
from assay.studio import widgets as w
from assay.studio.shared.candidates import CandidateBoxes
from assay.studio.shared.controls import TYPING, Controls, Put, read_path, split_lines
from assay.studio.shared.findings import TASKS

METHODS = {
    "sft": "Learn the answers",
    "dpo": "Learn from preferences (dpo)",
    "ipo": "Learn from preferences (ipo)",
    "kto": "Learn from thumbs (kto)",
    "orpo": "Learn answers and preferences (orpo)",
}


class SettingsForm(Controls[Config]):
    """What a person fills in.

    Args:
        put: writes settings into the text.
        models: that can be specialised.
        open: whether anything can be changed.
    """

    def __init__(self, put: Put, models: Sequence[str], *, open: bool) -> None:
        super().__init__(put, open=open)
        self._models = list(models)
        self._note = w.text(
            "The text cannot be used as it is. Mend it, and the form shows it again.", "bad"
        ).props("role=status")
        self._note.set_visibility(False)
        with ui.element("div").classes("stack gap"):
            self._build_job()
            self._build_examples()
            self._build_measure()
            self._build_candidates()
            self._build_training()
            self._build_costs()

    def show(self, parsed: Config) -> None:
        """Let every control show what the text says."""
        found = settings.measures(parsed)
        self._primary.set_options({name: f"{name}: {why}" for name, why in found.items()})
        super().show(parsed)
        self._show_blocks(parsed)

    def accept(self, parsed: Config) -> None:
        """Keep what the text says after a change of this form's own."""
        super().accept(parsed)
        self._show_blocks(parsed)

    def _freeze(self, frozen: bool) -> None:
        # What made the text invalid may have been a control, which alone can take it back.
        self._note.set_visibility(frozen)

    def _build_job(self) -> None:
        w.heading("The job")
        with ui.element("div").classes("split"):
            self._simple(
                "What is to be done",
                ui.select(dict(TASKS)),
                "task",
                "Decides how rows are checked and answers read.",
            )
        self._simple(
            "What the model is told",
            ui.textarea().props("autogrow").props(TYPING).classes("prompt"),
            "system_prompt",
            "Every request begins with it. Write what a new colleague would have to be told.",
        )
        with ui.element("div") as self._labels:
            labels = w.field(
                "The labels, one a line",
                ui.textarea().props("autogrow").props(TYPING),
                meaning="The only possible answers. A row with another one is rejected.",
            )
            self._control(
                labels,
                lambda c: "\n".join(c.labels or ()),
                lambda v: {"labels": split_lines(v) or None},
            )

    def _build_examples(self) -> None:
        w.heading("Examples", "Changing these divides the examples again.")
        with ui.element("div").classes("split"):
            self._simple(
                "File",
                ui.input().props(TYPING),
                "data.file",
                "The examples, in the folder of the project.",
                name="File of examples",
            )
            self._optional(
                "Test file",
                "data.holdout",
                "An official file to measure by. Empty: a share of the file is locked.",
            )
        with ui.element("div").classes("split") as self._columns:
            for label, name, meaning in (
                ("What comes in", "input", "One column or field, or several: a, b."),
                ("What should come out", "output", "One column or field; several become a record."),
            ):
                made = ui.input().props(TYPING)
                w.field(label, made, meaning=meaning, name=f"{label}: columns")
                self._control(made, _read_columns(name), _write_columns(name))
            self._optional(
                "Rows that belong together",
                "data.columns.group",
                "A column: rows with one value there (a customer, say) are never on both sides of "
                "the lock.",
            )
        with ui.element("div").classes("split thirds"):
            self._number(
                "Locked to measure by",
                "data.split.holdout",
                meaning="Of 100 examples, so many are never shown, trained on or chosen by.",
                percent=True,
            )
            self._number(
                "To choose by",
                "data.split.validation",
                meaning="Of 100 others, so many choose between settings and are not trained on.",
                percent=True,
            )
            self._number(
                "Train on at most",
                "data.train_rows",
                meaning="Rows, drawn by chance. Empty: all that are not held back.",
                optional=True,
            )

    def _build_measure(self) -> None:
        w.heading("What counts", "By which a verdict is reached.")
        meaning = "How an answer is scored, from 0 to 1."
        self._primary = w.field("What decides", ui.select({}), meaning=meaning)
        self._control(
            self._primary,
            lambda c: c.primary,
            lambda v: None if self._parsed is None else settings.choose_measure(self._parsed, v),
        )
        with ui.element("div").classes("split thirds"):
            self._number(
                "Good enough is",
                "good_enough",
                meaning="Right answers in 100, below which no candidate is worth having. "
                "Empty: not said.",
                percent=True,
                optional=True,
            )
            self._number(
                "Does not matter below",
                "margin",
                meaning="A difference of so many right answers in 100 is none to you.",
                percent=True,
            )
            self._number(
                "A cheaper one may be worse by",
                "margin_for_cheaper",
                meaning="So many right answers in 100 you give up for a candidate that is cheaper "
                "to own. Empty: no more than does not matter.",
                percent=True,
                optional=True,
            )
            self._number(
                "Requests a month",
                "monthly_requests",
                meaning="How often it will be asked. Decides what is cheapest to own.",
            )

    def _build_candidates(self) -> None:
        w.heading("Candidates", "Each is built and measured at the next comparison.")
        self._candidates = CandidateBoxes(specs())
        for name, box in self._candidates.boxes.items():
            self._control(box, _read_candidate(name), lambda _: self._read_chosen())
        self._further = w.text("", "soft note")

    def _build_training(self) -> None:
        w.heading("Model and training", "`auto` is decided by model and number of examples.")
        with ui.element("div").classes("split"):
            model = w.field(
                "Model",
                ui.select(self._models, with_input=True, new_value_mode="add-unique", value=None),
                meaning="The language model to be specialised. Choose, or type.",
            )
            self._control(model, lambda c: c.model, lambda v: {"model": v} if v else None)
            self._optional(
                "A provider's model",
                "remote",
                "Takes part as the candidate `remote`: remote:PROVIDER/MODEL. Empty: none.",
            )
            self._simple(
                "How it learns",
                ui.select(dict(METHODS)),
                "fine_tune.method",
                "Preferences and thumbs must be in the data.",
            )
            self._optional(
                "Teacher",
                "fine_tune.teacher",
                "A larger model whose answers are learned instead. Empty: none.",
            )
        with ui.element("div").classes("split thirds"):
            for label, name, meaning in (
                ("Rounds over the examples", "epochs", "At most; it ends when nothing improves."),
                ("Learning rate", "learning_rate", "How far each step goes, such as 0.001."),
                ("Rank", "rank", "Size of what is learned: more can hold more, and is larger."),
            ):
                made = w.field(label, ui.input().props(TYPING), meaning=meaning)
                write = _write_auto(name, whole=name != "learning_rate")
                self._control(made, _read_auto(name), write, f"fine_tune.{name}")
                if name == "rank":
                    self._rank = made

    def _build_costs(self) -> None:
        w.heading("Prices", "In USD. Empty where you do not know; unknown is never counted as 0.")
        with ui.element("div").classes("split thirds"):
            person = "Of whoever collects and checks."
            collecting = "Collecting and checking training examples, once."
            kept_on = "For which it is paid, asked or not: 730 is always, 0 if it is there anyway."
            for label, name, meaning, step, optional in (
                ("A machine's hour", "machine_hour_usd", "Of a machine like this one.", 0.1, True),
                ("Hours a month it is on", "machine_hours_per_month", kept_on, 1, False),
                ("A person's hour", "person_hour_usd", person, 0.1, True),
                ("Hours of collecting", "curation_hours", collecting, 0.5, False),
            ):
                self._number(label, f"costs.{name}", meaning=meaning, step=step, optional=optional)

    def _simple(self, label: str, made: Any, path: str, meaning: str, *, name: str = "") -> None:
        w.field(label, made, meaning=meaning, name=name)
        self._control(made, read_path(path), lambda v: None if v is None else {path: v}, path)

    def _optional(self, label: str, path: str, meaning: str) -> None:
        """Text that may be empty, which stands as null."""
        read, made = read_path(path), w.field(label, ui.input().props(TYPING), meaning=meaning)
        self._control(
            made, lambda c: read(c) or "", lambda v: {path: (v or "").strip() or None}, path
        )

    def _read_chosen(self) -> dict[str, Any]:
        """All candidates that are ticked, those of before in their order."""
        ticked = [name for name, box in self._candidates.boxes.items() if box.value]
        before = [] if self._parsed is None else self._parsed.candidates
        return {
            "candidates": [name for name in before if name in ticked]
            + [name for name in ticked if name not in before]
        }

    def _show_blocks(self, parsed: Config) -> None:
        """Show what the settings have a use for."""
        self._labels.set_visibility(parsed.task == "label")
        self._columns.set_visibility(parsed.data.columns is not None)
        if (slot := self._rank.parent_slot) is not None:  # with its label
            slot.parent.set_visibility(parsed.fine_tune.adapter != "full")
        offered = {
            name for name, spec in specs().items() if spec.is_possible(parsed) and not spec.baseline
        }
        self._candidates.show(offered.union(parsed.candidates))
        unasked = registry.baselines(parsed) if parsed.baselines else []
        always = f"Beside them, unasked: {', '.join(unasked)}. " if unasked else ""
        self._further.text = (
            f"{always}Candidates that search documents need `knowledge`, routes need `route`; both "
            "are set in the text beside."
        )


def _read_candidate(name: str) -> Callable[[Config], bool]:
    return lambda config: name in config.candidates


def _read_columns(name: str) -> Callable[[Config], str]:
    return lambda c: ", ".join(getattr(c.data.columns, name)) if c.data.columns else ""


def _write_columns(name: str) -> Callable[[str], dict[str, Any] | None]:
    def write(value: str) -> dict[str, Any] | None:
        columns = split_lines((value or "").replace(",", "\n"))
        return {f"data.columns.{name}": columns} if columns else None

    return write


def _read_auto(name: str) -> Callable[[Config], str]:
    def read(config: Config) -> str:
        value = getattr(config.fine_tune, name)
        return value if isinstance(value, str) else f"{value:g}"

    return read


def _write_auto(name: str, *, whole: bool) -> Callable[[str], dict[str, Any]]:
    def write(value: str) -> dict[str, Any]:
        parsed = (value or "").strip()
        if parsed in ("", "auto"):
            return {f"fine_tune.{name}": "auto"}
        try:
            return {f"fine_tune.{name}": int(parsed) if whole else float(parsed)}
        except ValueError:
            raise UsageError(
                f"{parsed!r} is neither a {'whole number' if whole else 'number'} nor auto."
            ) from None

    return write
