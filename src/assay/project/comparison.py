"""What `Project.compare` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assay.compare.report import notebook_frame
from assay.compare.result import Result, Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished comparison.

    Attributes:
        folder: plan.json, result.json, answers.jsonl.gz and report.html.
        report: a copy of the report in the project's folder.
    """

    result: Result
    folder: Path
    report: Path

    @property
    def verdict(self) -> Verdict:
        """What follows from the comparison."""
        return self.result.verdict

    def _repr_html_(self) -> str:
        return notebook_frame(self.result)
