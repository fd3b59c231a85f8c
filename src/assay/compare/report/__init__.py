"""The report of a comparison, made from `result.json` and the answers file and nothing else."""

from assay.compare.report.html import curve_frame, notebook_frame, write_report

__all__ = ["curve_frame", "notebook_frame", "write_report"]
