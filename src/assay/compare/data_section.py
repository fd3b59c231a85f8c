"""What a comparison was made on, as `result.json` tells it: counts and hashes, no holdout text."""

from __future__ import annotations

from pydantic import Field

from assay.config.strict import ClosedModel


class QuarantineCounts(ClosedModel):
    """Training and validation rows kept out because their twin is in the holdout."""

    exact: int = 0
    near: int = 0
    train_removed: int = 0
    validation_removed: int = 0
    share_removed: float = 0.0
    per_class: dict[str, float] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)


class Verbatim(ClosedModel):
    """Holdout rows that could be answered by copying, counted; null where it was not looked for.

    Attributes:
        answers: whose answer stands word for word in a training row; null for labels.
        documents: whose question and answer stand word for word in one document.
    """

    answers: int | None = None
    documents: int | None = None


class DataSection(ClosedModel):
    """What the comparison was made on. Counts only: no holdout text."""

    file: str
    format: str
    task: str
    rows: int
    rejected: int
    train: int
    validation: int
    holdout: int
    official_split: bool
    groups: int | None = None
    holdout_sha256: str
    train_sha256: str
    validation_sha256: str | None = None
    problems: dict[str, int] = Field(default_factory=dict)
    duplicates: dict[str, int] = Field(default_factory=dict)
    quarantine: QuarantineCounts = QuarantineCounts()
    verbatim: Verbatim = Verbatim()
    warnings: list[str] = Field(default_factory=list)
