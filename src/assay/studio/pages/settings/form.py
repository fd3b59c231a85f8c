"""The form of a project's settings: what an ordinary user changes, in plain words.

Everything else is changed in the text beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nicegui import ui
from nicegui.element import Element

from assay.candidates.registry import specs
from assay.config import Config
from assay.errors import UsageError
from assay.project import settings
from assay.studio.shared.controls import TYPING, Control, Controls, Put
from assay.studio.shared.findings import TASKS
from assay.studio.widgets import field, heading, row, term, text

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
        self._candidates: dict[str, tuple[Element, ui.checkbox]] = {}
        self._note = text(
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

    def show(self, said: Config) -> None:
        """Let every control show what the text says."""
        found = settings.measures(said)
        self._primary.set_options({name: f"{name}: {why}" for name, why in found.items()})
        super().show(said)
        self._blocks(said)

    def told(self, said: Config) -> None:
        """What the text says after a change of this form's own."""
        super().told(said)
        self._blocks(said)

    def _freeze(self, frozen: bool) -> None:
        # What made the text invalid may have been a control, which alone can take it back.
        self._note.set_visibility(frozen)

    def _build_job(self) -> None:
        heading("The job")
        with (
            ui.element("div").classes("split"),
            field("What is to be done", meaning="Decides how rows are checked and answers read."),
        ):
            self._simple(ui.select(dict(TASKS)), "What is to be done", "task")
        with field(
            "What the model is told",
            meaning="Every request begins with it. Write what a new colleague would have to be "
            "told.",
        ):
            area = ui.textarea().props(f"autogrow {TYPING}").classes("prompt")
            self._simple(area, "What the model is told", "system_prompt")
        self._labels = ui.element("div")
        with (
            self._labels,
            field(
                "The labels, one a line",
                meaning="The only answers there are. A row with another one is rejected.",
            ),
        ):
            area = ui.textarea().props(f"autogrow {TYPING}")
            self._control(
                area,
                "The labels, one a line",
                lambda c: "\n".join(c.labels or ()),
                lambda v: {"labels": _lines(v) or None},
            )

    def _build_examples(self) -> None:
        heading("Examples", "Changing these divides the examples again.")
        with ui.element("div").classes("split"):
            with field("File", meaning="The examples, in the folder of the project."):
                self._simple(ui.input().props(TYPING), "File of examples", "data.file")
            with field(
                "Test file",
                meaning="An official file to measure by. Empty: a share of the file is locked.",
            ):
                self._optional(ui.input().props(TYPING), "Test file", "data.holdout")
        self._columns = ui.element("div").classes("split")
        with self._columns:
            for label, name, meaning in (
                ("What comes in", "input", "One column or field, or several: a, b."),
                ("What should come out", "output", "One column or field; several become a record."),
            ):
                with field(label, meaning=meaning):
                    self._control(
                        ui.input().props(TYPING),
                        f"{label}: columns",
                        _columns_of(name),
                        _columns_to(name),
                    )
            with field(
                "Rows that belong together",
                meaning="A column: rows with one value there (a customer, say) are never on both "
                "sides of the lock.",
            ):
                self._optional(
                    ui.input().props(TYPING), "Rows that belong together", "data.columns.group"
                )
        with ui.element("div").classes("split thirds"):
            self._percent(
                "Locked to measure by",
                "data.split.holdout",
                "Of 100 examples, so many are never shown, trained on or chosen by.",
            )
            self._percent(
                "To choose by",
                "data.split.validation",
                "Of 100 others, so many choose between settings and are not trained on.",
            )
            self._count(
                "Train on at most",
                "data.train_rows",
                "Rows, drawn by chance. Empty: all that are not held back.",
            )

    def _build_measure(self) -> None:
        heading("What counts", "By which a verdict is reached.")
        with field("What decides", meaning="How an answer is scored, from 0 to 1."):
            self._primary = ui.select({})
            self._control(
                self._primary,
                "What decides",
                lambda c: c.primary,
                lambda v: None if self._said is None else settings.decided_by(self._said, v),
            )
        with ui.element("div").classes("split thirds"):
            self._percent(
                "Good enough is",
                "good_enough",
                "Right answers in 100, below which no candidate is worth having. Empty: not said.",
                optional=True,
            )
            self._percent(
                "Does not matter below",
                "margin",
                "A difference of so many right answers in 100 is none to you.",
            )
            with field(
                "Requests a month",
                meaning="How often it will be asked. Decides what is cheapest to own.",
            ):
                made = ui.number(min=0, step=1, precision=0).props(TYPING)
                self._control(
                    made,
                    "Requests a month",
                    lambda c: c.monthly_requests,
                    lambda v: None if v is None else {"monthly_requests": int(v)},
                )

    def _build_candidates(self) -> None:
        heading("Candidates", "Each is built and measured at the next comparison.")
        with ui.element("div").classes("choices"):
            for name, spec in specs().items():
                with row() as line:
                    box = ui.checkbox(spec.title[:1].upper() + spec.title[1:])
                    term("what is it?", spec.explanation)
                self._candidates[name] = line, box
                self._control(box, spec.title, _takes_part(name), lambda _: self._chosen())
        self._further = text("", "soft note")

    def _build_training(self) -> None:
        heading("Model and training", "`auto` is decided by model and number of examples.")
        with ui.element("div").classes("split"):
            with field("Model", meaning="The language model to be specialised. Choose, or type."):
                self._model = ui.select(
                    self._models, with_input=True, new_value_mode="add-unique", value=None
                )
                self._control(
                    self._model, "Model", lambda c: c.model, lambda v: {"model": v} if v else None
                )
            with field(
                "A provider's model",
                meaning="Takes part as the candidate `remote`: remote:PROVIDER/MODEL. Empty: none.",
            ):
                self._optional(ui.input().props(TYPING), "A provider's model", "remote")
            with field("How it learns", meaning="Preferences and thumbs must be in the data."):
                self._simple(ui.select(dict(METHODS)), "How it learns", "fine_tune.method")
            with field(
                "Teacher",
                meaning="A larger model whose answers are learned instead. Empty: none.",
            ):
                self._optional(ui.input().props(TYPING), "Teacher", "fine_tune.teacher")
        with ui.element("div").classes("split thirds"):
            for label, name, meaning in (
                ("Rounds over the examples", "epochs", "At most; it ends when nothing improves."),
                ("Learning rate", "learning_rate", "How far each step goes, such as 0.001."),
                ("Rank", "rank", "Size of what is learned: more can hold more, and is larger."),
            ):
                with field(label, meaning=meaning):
                    self._control(
                        ui.input().props(TYPING),
                        label,
                        _auto_of(name),
                        _auto_to(name, whole=name != "learning_rate"),
                    )

    def _build_costs(self) -> None:
        heading("Prices", "In USD. Empty where you do not know; unknown is never counted as 0.")
        with ui.element("div").classes("split thirds"):
            for label, name, meaning in (
                ("A machine's hour", "machine_hour_usd", "Of a machine like this one."),
                ("A person's hour", "person_hour_usd", "Of whoever collects and checks."),
            ):
                self._price(label, f"costs.{name}", meaning)
            with field(
                "Hours of collecting", meaning="Collecting and checking training examples, once."
            ):
                made = ui.number(min=0, step=0.5).props(TYPING)
                self._control(
                    made,
                    "Hours of collecting",
                    lambda c: c.costs.curation_hours,
                    lambda v: None if v is None else {"costs.curation_hours": v},
                )

    def _simple(self, made: Any, label: str, path: str) -> None:
        self._control(made, label, _reader(path), lambda v: None if v is None else {path: v})

    def _optional(self, made: Any, label: str, path: str) -> None:
        """Text that may be empty, which stands as null."""
        read = _reader(path)
        self._control(
            made, label, lambda c: read(c) or "", lambda v: {path: (v or "").strip() or None}
        )

    def _percent(self, label: str, path: str, meaning: str, *, optional: bool = False) -> None:
        read = _reader(path)

        def shown(config: Config) -> float | None:
            value = read(config)
            return None if value is None else round(100 * value, 6)

        def write(value: float | None) -> dict[str, Any] | None:
            if value is None:
                return {path: None} if optional else None
            return {path: round(value / 100, 8)}

        with field(f"{label}, in 100", meaning=meaning):
            made = ui.number(min=0, max=100, step=1).props(TYPING)
            self._control(made, label, shown, write)

    def _count(self, label: str, path: str, meaning: str) -> None:
        with field(label, meaning=meaning):
            made = ui.number(min=1, step=1, precision=0).props(TYPING)
            self._control(
                made, label, _reader(path), lambda v: {path: None if v is None else int(v)}
            )

    def _price(self, label: str, path: str, meaning: str) -> None:
        with field(label, meaning=meaning):
            made = ui.number(min=0, step=0.1).props(TYPING)
            self._control(made, label, _reader(path), lambda v: {path: v})

    def _chosen(self) -> dict[str, Any]:
        """All candidates that are ticked, those of before in their order."""
        ticked = [name for name, (_, box) in self._candidates.items() if box.value]
        before = [] if self._said is None else self._said.candidates
        return {
            "candidates": [name for name in before if name in ticked]
            + [name for name in ticked if name not in before]
        }

    def _blocks(self, said: Config) -> None:
        """Show what the settings have a use for."""
        self._labels.set_visibility(said.task == "label")
        self._columns.set_visibility(said.data.columns is not None)
        for name, (line, _) in self._candidates.items():
            spec = specs()[name]
            offered = spec.is_possible(said) and not spec.baseline
            line.set_visibility(offered or name in said.candidates)
        always = "Two simple classifiers always take part. " if said.task == "label" else ""
        self._further.text = (
            f"{always}Candidates that search documents need `knowledge`, routes need `route`; both "
            "are set in the text beside."
        )

    def _offer(self, control: Control[Config], value: Any) -> None:
        if control.made is self._model and value not in self._models:
            self._models.append(value)
            self._model.set_options(self._models)


def _reader(path: str) -> Callable[[Config], Any]:
    names = path.split(".")

    def read(config: Config) -> Any:
        found: Any = config
        for name in names:
            found = getattr(found, name) if found is not None else None
        return found

    return read


def _takes_part(name: str) -> Callable[[Config], bool]:
    return lambda config: name in config.candidates


def _columns_of(name: str) -> Callable[[Config], str]:
    return lambda c: ", ".join(getattr(c.data.columns, name)) if c.data.columns else ""


def _columns_to(name: str) -> Callable[[str], dict[str, Any] | None]:
    def write(value: str) -> dict[str, Any] | None:
        columns = [column.strip() for column in (value or "").split(",") if column.strip()]
        return {f"data.columns.{name}": columns} if columns else None

    return write


def _auto_of(name: str) -> Callable[[Config], str]:
    def read(config: Config) -> str:
        value = getattr(config.fine_tune, name)
        return value if isinstance(value, str) else f"{value:g}"

    return read


def _auto_to(name: str, *, whole: bool) -> Callable[[str], dict[str, Any]]:
    def write(value: str) -> dict[str, Any]:
        said = (value or "").strip()
        if said in ("", "auto"):
            return {f"fine_tune.{name}": "auto"}
        try:
            return {f"fine_tune.{name}": int(said) if whole else float(said)}
        except ValueError:
            raise UsageError(
                f"{said!r} is no {'whole number' if whole else 'number'}, and not auto.",
                fix="The text keeps what it was.",
            ) from None

    return write


def _lines(value: str) -> list[str]:
    return [line.strip() for line in (value or "").splitlines() if line.strip()]
