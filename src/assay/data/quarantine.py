"""Training and validation rows whose twin is in the holdout are kept out, and it is said how many.

A model that was trained on the twin of a measured row, or was shown it, is measured on its
memory. See `normal` for what exact and near mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from assay.config import TaskKind
from assay.data.overlap import overlap
from assay.example import Example
from assay.progress import SILENT, Progress
from assay.quantities import say_count

ALARM_ALL = 0.05
ALARM_CLASS = 0.10

Part = Literal["train", "validation"]
Reason = Literal[
    "exact twin in holdout", "near twin in holdout", "group in holdout", "twin in train"
]


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What was kept out.

    Attributes:
        exact, near: holdout rows with an exact twin, or else with a near one.
        train_removed, validation_removed: rows kept out because of the holdout.
        share_removed: of all train and validation rows, 0 to 1.
        per_class: label tasks: share removed of each class that lost a row.
        warnings: sentences a reader of the verdict must see.
    """

    exact: int = 0
    near: int = 0
    train_removed: int = 0
    validation_removed: int = 0
    share_removed: float = 0.0
    per_class: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """What was kept out and why, for a person."""
        held, nearly = "No holdout row has", ""
        if count := self.exact or self.near:
            held = say_count(count, "holdout row has", "holdout rows have")
        if not self.exact and self.near:
            held += " nearly"
        elif self.near:
            nearly = f", {self.near:,} nearly"
        parts = (self.train_removed, "training row"), (self.validation_removed, "validation row")
        rows = " and ".join(say_count(count, row) for count, row in parts if count) or "no row"
        are = "are" if self.train_removed + self.validation_removed > 1 else "is"
        return (
            f"{held} the input of a row outside the holdout{nearly}: {rows} {are} in quarantine "
            "because of the holdout."
        )


@dataclass(frozen=True, slots=True)
class RemovedRow:
    """A row that was kept out."""

    part: Part
    reason: Reason
    example: Example


@dataclass(frozen=True, slots=True)
class SplitWithoutTwins:
    """Train and validation rows without a twin in the holdout.

    Attributes:
        alarm: so much of validation's or a class's rows was kept out that validation is to be
            shown with and without.
    """

    train: list[Example]
    validation: list[Example]
    removed: list[RemovedRow]
    summary: Quarantine
    alarm: bool

    @property
    def validation_twins(self) -> list[Example]:
        """Validation rows that were kept out because of the holdout."""
        return [
            r.example
            for r in self.removed
            if r.part == "validation" and r.reason != "twin in train"
        ]


def separate(
    train: Sequence[Example],
    validation: Sequence[Example],
    holdout: Sequence[Example],
    task: TaskKind,
    joined: Mapping[str, str],
    progress: Progress = SILENT,
) -> SplitWithoutTwins:
    """Keep out of train and validation what has a twin, or a user-named group, in the holdout.

    What stands in both train and validation is kept in train only.

    Args:
        joined: groups that are one although they are called otherwise, see `join_groups`.
    """
    rows: list[tuple[Part, Example]] = [("train", e) for e in train]
    rows += [("validation", e) for e in validation]
    gate = overlap(
        enumerate(e.input for _, e in rows), enumerate(e.input for e in holdout), progress
    )
    groups = _groups(holdout, joined)
    removed: list[RemovedRow] = []
    kept: dict[Part, list[Example]] = {"train": [], "validation": []}
    for row, (part, example) in enumerate(rows):
        reason: Reason | None = None
        if (kind := gate.train_rows.get(row)) is not None:
            reason = "exact twin in holdout" if kind == "exact" else "near twin in holdout"
        elif _groups([example], joined) & groups:
            reason = "group in holdout"
        if reason is None:
            kept[part].append(example)
        else:
            removed.append(RemovedRow(part, reason, example))
    summary = _summary(gate.exact, gate.near, rows, removed, task)
    left, doubles = _without_twins_of(kept["train"], kept["validation"], joined, progress)
    alarm = bool(summary.warnings and summary.validation_removed)
    return SplitWithoutTwins(kept["train"], left, removed + doubles, summary, alarm)


def _groups(examples: Iterable[Example], joined: Mapping[str, str]) -> set[str]:
    return {joined.get(e.group, e.group) for e in examples if e.group is not None}


def _without_twins_of(
    train: Sequence[Example],
    validation: Sequence[Example],
    joined: Mapping[str, str],
    progress: Progress,
) -> tuple[list[Example], list[RemovedRow]]:
    """The validation rows that have no twin in train, and those that have."""
    gate = overlap(
        enumerate(e.input for e in validation), enumerate(e.input for e in train), progress
    )
    groups = _groups(train, joined)
    twins = [
        row in gate.train_rows or bool(_groups([example], joined) & groups)
        for row, example in enumerate(validation)
    ]
    left = [e for e, twin in zip(validation, twins, strict=True) if not twin]
    doubles = [
        RemovedRow("validation", "twin in train", e)
        for e, twin in zip(validation, twins, strict=True)
        if twin
    ]
    return left, doubles


def _summary(
    exact: int,
    near: int,
    rows: Sequence[tuple[Part, Example]],
    removed: Sequence[RemovedRow],
    task: TaskKind,
) -> Quarantine:
    share = len(removed) / len(rows) if rows else 0.0
    per_class: dict[str, float] = {}
    if task == "label":
        of_class = Counter(example.output for _, example in rows)
        lost = Counter(r.example.output for r in removed)
        per_class = {label: lost[label] / of_class[label] for label in sorted(lost)}
    warnings = []
    if share > ALARM_ALL:
        warnings.append(
            f"{share:.1%} of the train and validation rows were kept out because their twin is "
            "in the holdout: train and holdout were not collected independently."
        )
    worst = {label: part for label, part in per_class.items() if part > ALARM_CLASS}
    if worst:
        named = ", ".join(f"{label} ({part:.0%})" for label, part in list(worst.items())[:10])
        warnings.append(
            "more than a tenth of a class was kept out because of twins in the holdout: "
            f"{named}{', ...' if len(worst) > 10 else ''}."
        )
    if grouped := sum(r.reason == "group in holdout" for r in removed):
        rows_were = say_count(
            grouped, "row of train or validation was", "rows of train and validation were"
        )
        its = "its" if grouped == 1 else "their"
        warnings.append(f"{rows_were} kept out because {its} group is in the holdout.")
    return Quarantine(
        exact=exact,
        near=near,
        train_removed=sum(r.part == "train" for r in removed),
        validation_removed=sum(r.part == "validation" for r in removed),
        share_removed=share,
        per_class=per_class,
        warnings=warnings,
    )
