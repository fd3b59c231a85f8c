"""Corrected traces of a release, saved among the project's data: each once, however often asked."""

from __future__ import annotations

import filecmp
from dataclasses import replace
from datetime import date
from pathlib import Path

from assay.project import releases
from assay.project.workspace import Workspace
from assay.release.examples import ExportedExamples, rejected_file


def save(workspace: Workspace, name: str) -> ExportedExamples:
    """Write the corrected traces of a release to a file of examples in `data/`, named by the day.

    Where an earlier one says the same, that is returned and no other is made.
    """
    folder = workspace.root / "data"
    target, number = folder / f"traces-{date.today():%Y-%m-%d}.jsonl", 1
    while target.exists() or rejected_file(target).exists():
        number += 1
        target = folder / f"traces-{date.today():%Y-%m-%d}-{number}.jsonl"
    made = releases.traces_to_data(workspace, target, name)
    return replace(made, file=_keep_once(made.file), rejected_file=_keep_once(made.rejected_file))


def _keep_once(file: str | None) -> str | None:
    """The earlier file that says the same, where there is one, in the place of a new one."""
    if file is None:
        return None
    made = Path(file)
    for earlier in sorted(made.parent.glob("traces-*.jsonl")):
        if earlier != made and filecmp.cmp(earlier, made, shallow=False):
            made.unlink()
            return str(earlier)
    return file
