"""How scores of the primary metric are said, which depends on what its grader counts."""

from __future__ import annotations

from collections.abc import Iterable

from assay.compare.reasons import Scale
from assay.compare.result import Result
from assay.config import GraderSpec
from assay.evaluate.graders import GRADERS


def scale_of_metric(primary: str, graders: Iterable[GraderSpec]) -> Scale:
    """Of the grader whose scores are kept under this name."""
    name = next((spec.name for spec in graders if spec.label == primary), primary)
    grader = GRADERS.get(name)
    return Scale("from a grader of another version" if grader is None else grader.points)


def scale_of(result: Result) -> Scale:
    """How a stored comparison says its scores, whatever its age."""
    stored = result.config.get("graders") or []
    return scale_of_metric(result.primary, map(GraderSpec.model_validate, stored))
