"""What became of rows that were to be added to a project's examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from assay.data.quarantine import Reason
from assay.data.rewrite import Conversion
from assay.data.split import find_quarantined, has_split
from assay.quantities import say_count

WHY_QUARANTINED: dict[Reason, str] = {
    "exact twin in holdout": "message is one of the holdout's",
    "near twin in holdout": "message is nearly one of the holdout's",
    "group in holdout": "group has rows in the holdout",
    "twin in train": "message is one of training, too",
}
"""Why a row that was added is used by nothing, after "its" or "their"."""
Text = tuple[str, str]
"""Input and output of an example."""
MOST_TOLD = 10
"""Rejected rows that an addition tells."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What became of the rows of a file that were to be added.

    Attributes:
        file: the project's, as assay.yaml names it.
        added: rows that stand in it now.
        repeated: rows left out because their input and output stand there, or stood above.
        unfit: conversations left out because a row of the project's file has no place for them:
            they have more turns, or a question or answer whose columns cannot be told.
        rejected: rows left out because of an error.
        rejected_rows: the first `MOST_TOLD` of these, with their line and problems.
        converted: the project's file became UTF-8 for them; None: it did not.
        quarantined: of the added rows those that are in quarantine, by the reason.
        private: added rows with secrets or personal data.
        masked: added rows in which those were replaced.
        contradicting: added rows, none in quarantine, whose input another row has with another
            output.
        spelled_otherwise: a sentence for each of the first `MOST_TOLD` values of added rows that
            the project's rows spell otherwise.
    """

    file: str
    added: int
    repeated: int
    unfit: int
    rejected: int
    rejected_rows: tuple[dict[str, Any], ...]
    converted: Conversion | None = None
    quarantined: dict[Reason, int] = field(default_factory=dict)
    spelled_otherwise: tuple[str, ...] = ()
    private: int = 0
    masked: int = 0
    contradicting: int = 0

    @property
    def untold(self) -> str:
        """How many rows with errors are not among `rejected_rows`; "" where all are."""
        count = self.rejected - len(self.rejected_rows)
        more = say_count(count, "more row has an error", "more rows have errors")
        return f"{more}. Correct the rows above, and add the file again." if count else ""

    @property
    def used(self) -> int:
        """Added rows that training and validation have: those that are not in quarantine."""
        return self.added - sum(self.quarantined.values())

    @property
    def sentence(self) -> str:
        """What was added and what was not, for a person."""
        rows = "1 row" if self.added == 1 else f"{self.added:,} rows"
        left_out = (
            (self.repeated, "there already"),
            (self.unfit, "not fitting its columns"),
            (self.rejected, "with errors"),
        )
        parts = ", ".join(f"{count:,} {why}" for count, why in left_out if count)
        left = f" Left out: {parts}." if parts else ""
        verb = "was" if self.added == 1 else "were"
        saved = f" {self.converted.describe(self.file)}" if self.converted else ""
        return f"{rows} {verb} added to {self.file}.{left}{self._unused}{self._doubtful}{saved}"

    @property
    def _doubtful(self) -> str:
        """How many of the added rows have secrets, personal data or another answer than a row."""
        others = "the input of another row with another output: one of the two is wrong"
        parts = (
            (self.masked, "had", "had", "secrets or personal data, which are masked now"),
            (self.private, "has", "have", "secrets or personal data"),
            (self.contradicting, "has", "have", others),
        )
        return "".join(
            f" {self._some(count)} {one if count == 1 else several} {what}."
            for count, one, several, what in parts
            if count
        )

    def _some(self, count: int) -> str:
        """So many of the added rows."""
        if count == self.added:
            return "It" if count == 1 else "All of them"
        return f"{count:,} of them"

    @property
    def _unused(self) -> str:
        """How many of the added rows nothing uses, and why."""
        if not (count := sum(self.quarantined.values())):
            return ""
        which = f"{self._some(count)} {'is' if count == 1 else 'are'}"
        several = len(self.quarantined) > 1
        whose, they = ("its", "it is") if count == 1 else ("their", "they are")
        whys = (
            f"{whose} {WHY_QUARANTINED[reason]}{f' ({rows:,})' if several else ''}"
            for reason, rows in self.quarantined.items()
        )
        return (
            f" {which} in quarantine, because {' or '.join(whys)}: {they} used by nothing while "
            "this holdout stands."
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_reasons(folder: Path, rows: Sequence[Sequence[Text]]) -> list[Reason | None]:
    """Why each row is in quarantine; None: it is not, or not with all that its examples say."""
    if not has_split(folder):
        return [None] * len(rows)
    found = find_quarantined(folder, {text for texts in rows for text in texts})
    return [found[texts[0]] if all(text in found for text in texts) else None for texts in rows]
