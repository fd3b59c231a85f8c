"""The form of a project's settings: what an ordinary user changes, in plain words.

Everything else is changed in the text beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nicegui import ui

from assay.candidates import registry
from assay.candidates.registry import specs
from assay.config import Config, join_names, split_names
from assay.errors import UsageError
from assay.project import settings
from assay.quantities import write_number
from assay.studio import widgets as w
from assay.studio.shared.candidates import ALWAYS, CandidateBoxes
from assay.studio.shared.controls import (
    NO_MODEL,
    TYPING,
    Controls,
    Put,
    read_path,
    require_text,
    split_lines,
)
from assay.studio.shared.findings import TASKS
from assay.studio.shared.names import method_names, plain_label
from assay.studio.shared.numbers import parse_number, refuse_fraction, require_number


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
            "The text is invalid. Correct it, and the form shows it again.", "bad"
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
        self.primary.set_options({name: f"{name}: {why}" for name, why in found.items()})
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
        w.heading("Task")
        with ui.element("div").classes("split"):
            self._simple(
                "Type of task",
                ui.select(dict(TASKS)),
                "task",
                "Determines how rows are checked and how answers are read.",
            )
        self._simple(
            "System prompt",
            ui.textarea().props("autogrow").props(TYPING).classes("prompt"),
            "system_prompt",
            "Every request starts with it. Write what a new colleague would need to know.",
        )
        with ui.element("div") as self._abstention:
            self._optional(
                "Answer where no document has one",
                "knowledge.abstain",
                "Word for word as in your examples. Empty: every input has an answer.",
            )
        with ui.element("div") as self._labels:
            labels = w.field(
                "Labels, one per line",
                ui.textarea().props("autogrow").props(TYPING),
                meaning="The only possible answers. A row with any other label is rejected.",
            )
            self._control(
                labels,
                lambda c: "\n".join(c.labels or ()),
                lambda v: {"labels": split_lines(v) or None},
                "labels",
            )

    def _build_examples(self) -> None:
        w.heading("Examples", "Changing these splits the examples again.")
        with ui.element("div").classes("split"):
            meaning = "The file of examples, in the project folder."
            file = w.field(
                "File", ui.input().props(TYPING), meaning=meaning, name="File of examples"
            )
            self._control(
                file,
                lambda c: c.data.file,
                lambda v: {"data.file": require_text(v, "this cannot be empty. Name a file.")},
                "data.file",
            )
            self._optional(
                "Holdout file",
                "data.holdout",
                "A fixed file to use as the holdout. Empty: a share of the examples is used.",
            )
        with ui.element("div").classes("split") as self._columns:
            for label, name, meaning in (
                (
                    "Input columns",
                    "input",
                    "One column or field, or several: a, b. Put a name with a comma in quotes.",
                ),
                ("Output columns", "output", "One column or field; several become a record."),
            ):
                made = ui.input().props(TYPING)
                w.field(label, made, meaning=meaning)
                read, write = _read_columns(name), _write_columns(name)
                self._control(made, read, write, f"data.columns.{name}")
            self._optional(
                "Group column",
                "data.columns.group",
                "Rows with the same value in this column (a customer, for example) always go to "
                "the same part of the split.",
            )
            with ui.element("div") as self._numbers:
                self._control(
                    w.field(
                        "Number columns",
                        ui.input().props(TYPING),
                        meaning="Output columns whose cells are numbers of the record. Empty: all "
                        "are text. “output_schema” in the text says what each field is: correct "
                        "it, too, or the rows are rejected.",
                    ),
                    _read_columns("numbers"),
                    lambda v: {"data.columns.numbers": split_names(v or "")},
                    "data.columns.numbers",
                )
        with ui.element("div").classes("split thirds"):
            self._number(
                "Holdout",
                "data.split.holdout",
                meaning="Share of the examples that is locked for comparisons; never shown, "
                "trained on or used for choices.",
                percent=True,
            )
            self._number(
                "Validation",
                "data.split.validation",
                meaning="Share of the other examples that is used to choose between settings and "
                "not trained on.",
                percent=True,
            )
            self._number(
                "Maximum training rows",
                "data.train_rows",
                meaning="Drawn at random. Empty: all rows outside holdout and validation.",
                optional=True,
                whole=True,
            )

    def _build_measure(self) -> None:
        w.heading("Criteria", "How the verdict is reached.")
        meaning = "Decides the comparison. It scores each answer from 0 to 1."
        self.primary = w.field("Primary grader", ui.select({}), meaning=meaning)
        self._control(
            self.primary,
            lambda c: c.primary,
            lambda v: None if self._parsed is None else settings.choose_measure(self._parsed, v),
            "primary",
        )
        with ui.element("div").classes("split thirds"):
            self._number(
                "Minimum score",
                "good_enough",
                meaning="The lowest score at which a candidate is worth using, as 90. Empty: no "
                "minimum.",
                percent=True,
                optional=True,
                least=1,
            )
            self._number(
                "Margin",
                "margin",
                meaning="The largest difference in score that does not matter to you.",
                percent=True,
            )
            self._number(
                "Margin if cheaper",
                "margin_for_cheaper",
                meaning="How much lower a candidate may score if it is cheaper to own. Empty: the "
                "margin.",
                percent=True,
                optional=True,
            )
            self._number(
                "Requests per month",
                "monthly_requests",
                meaning="Expected volume. Determines which candidate is cheapest to own.",
                whole=True,
            )

    def _build_candidates(self) -> None:
        w.heading("Candidates", "Each is built and measured in the next comparison.")
        self._candidates = CandidateBoxes(specs())
        for name, box in self._candidates.boxes.items():
            self._control(
                box,
                _read_candidate(name),
                lambda _: self._read_chosen(),
                "candidates",
                told=self._candidates.told,
                heading="Candidates",
            )
        self._further = w.text("", "soft note")

    def _build_training(self) -> None:
        w.heading("Model and training", "“auto” depends on the model and the number of examples.")
        with ui.element("div").classes("split"):
            model = w.field(
                "Model",
                ui.select(self._models, with_input=True, new_value_mode="add-unique", value=None),
                meaning="The language model to specialise. Choose one or type a name.",
            )
            self._control(
                model, lambda c: c.model, lambda v: {"model": require_text(v, NO_MODEL)}, "model"
            )
            self._optional(
                "Provider's model",
                "remote",
                f"Of the candidates “{plain_label('remote')}” and "
                f"“{plain_label('remote-few-shot')}”. Format: remote:PROVIDER/MODEL. "
                "Empty: none.",
            )
            self._simple(
                "Training method",
                ui.select(method_names()),
                "fine_tune.method",
                "All but those that learn from answers need preferences or thumbs in the data.",
            )
            self._optional(
                "Teacher",
                "fine_tune.teacher",
                "A larger model whose answers are learned instead of yours. Empty: none.",
            )
        with ui.element("div").classes("split thirds"):
            for label, name, meaning in (
                ("Epochs", "epochs", "Maximum number; training stops when nothing improves."),
                ("Learning rate", "learning_rate", "Size of each training step, such as 0.001."),
                ("Rank", "rank", "Size of the adapter: a higher rank can learn more."),
            ):
                made = w.field(label, ui.input().props(TYPING), meaning=meaning)
                write = _write_auto(name, whole=name != "learning_rate")
                self._control(made, _read_auto(name), write, f"fine_tune.{name}")
                if name == "rank":
                    self._rank = made

    def _build_costs(self) -> None:
        w.heading(
            "Prices",
            "In USD. Leave empty if unknown: unknown is never counted as 0. Every cost to own is "
            "reckoned with these.",
        )
        with ui.element("div").classes("split thirds"):
            person = "The cost of whoever writes prompts and collects and checks examples."
            prompt = "Time to write and try a prompt, once."
            collecting = "Time to collect and check training examples, once."
            again = "How often a model is trained again on newer examples."
            renewing = "For new examples, the check of the version and its release."
            kept_on = "Hours you pay for, busy or idle. Always on: 730. Yours anyway: 0."
            for label, name, meaning, optional in (
                ("Machine, per hour", "machine_hour_usd", "For a machine like this one.", True),
                ("Machine hours per month", "machine_hours_per_month", kept_on, False),
                ("Person, per hour", "person_hour_usd", person, True),
                ("Hours to write a prompt", "prompt_hours", prompt, False),
                ("Hours to collect examples", "curation_hours", collecting, False),
                ("Retrainings per year", "retrainings_per_year", again, False),
                ("Hours per retraining", "hours_per_retraining", renewing, False),
            ):
                self._number(label, f"costs.{name}", meaning=meaning, optional=optional)

    def _simple(self, label: str, made: Any, path: str, meaning: str) -> None:
        w.field(label, made, meaning=meaning)
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
        always = [] if self._parsed is None else _always(self._parsed)
        return {
            "candidates": [name for name in before if name in ticked]
            + [name for name in ticked if name not in before and name not in always]
        }

    def _show_blocks(self, parsed: Config) -> None:
        """Show what the settings have a use for."""
        self._labels.set_visibility(parsed.task == "label")
        self._abstention.set_visibility(parsed.knowledge is not None)
        columns = parsed.data.columns
        self._columns.set_visibility(columns is not None)
        is_table = parsed.data.file.lower().endswith((".csv", ".tsv", ".xlsx"))
        self._numbers.set_visibility(
            columns is not None and len(columns.output) > 1 and (is_table or bool(columns.numbers))
        )
        if (slot := self._rank.parent_slot) is not None:  # with its label
            slot.parent.set_visibility(parsed.fine_tune.adapter != "full")
        always = _always(parsed)
        offered = {
            name for name, spec in specs().items() if spec.is_possible(parsed) and not spec.baseline
        }
        self._candidates.show(offered.union(parsed.candidates, always))
        for name, spec in specs().items():
            if spec.baseline:  # what it says is set by others, such as the task
                self._candidates.boxes[name].set_value(_read_candidate(name)(parsed))
                self._candidates.boxes[name].set_enabled(self._open and name not in always)
        fixed = f"{ALWAYS} “baselines: false” in the text leaves them out. " if always else ""
        self._further.text = (
            f"{fixed}Candidates that search documents need “knowledge”, routes need “route”; set "
            "both in the text."
        )


def _read_candidate(name: str) -> Callable[[Config], bool]:
    return lambda config: name in config.candidates or name in _always(config)


def _always(config: Config) -> list[str]:
    """Candidates that take part though nobody has chosen them."""
    return registry.baselines(config) if config.baselines else []


def _read_columns(name: str) -> Callable[[Config], str]:
    return lambda c: join_names(getattr(c.data.columns, name)) if c.data.columns else ""


def _write_columns(name: str) -> Callable[[str], dict[str, Any]]:
    def write(value: str) -> dict[str, Any]:
        columns = split_names(value or "")
        if not columns:
            raise UsageError("this cannot be empty. Name a column.")
        return {f"data.columns.{name}": columns}

    return write


def _read_auto(name: str) -> Callable[[Config], str]:
    def read(config: Config) -> str:
        value = getattr(config.fine_tune, name)
        return value if isinstance(value, str) else write_number(value)

    return read


def _write_auto(name: str, *, whole: bool) -> Callable[[str], dict[str, Any]]:
    def write(value: str) -> dict[str, Any]:
        typed = (value or "").strip()
        if typed in ("", "auto"):
            return {f"fine_tune.{name}": "auto"}
        try:
            number = require_number(parse_number(typed))
            if whole and (refused := refuse_fraction(typed)):
                raise UsageError(refused)
        except UsageError as error:
            raise UsageError(error.what, fix="Or write auto.") from None
        return {f"fine_tune.{name}": int(number) if whole else number}

    return write
