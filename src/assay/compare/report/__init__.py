"""The report of a comparison, made from `result.json` and the answers file and nothing else."""

from assay.compare.report.html import write_report

__all__ = ["write_report"]
