"""Corrected traces of a release, saved among the project's data: each once, however often asked;
and whether some of them have not been added to its examples."""

from __future__ import annotations

import filecmp
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from assay.errors import AssayError
from assay.project import releases, row_edits
from assay.project.addition import Addition
from assay.project.recent_results import RecentResults
from assay.project.rows import data_file
from assay.project.workspace import Workspace, project_of
from assay.release.examples import ExportedExamples, rejected_file
from assay.store.files import sha256_file

_FORECASTS: RecentResults[tuple[Path, str, tuple[int, int], str], Addition] = RecentResults(16)
"""By the workspace's folder, its settings, the stamp of its file of examples, and the hash of the
corrections."""


@dataclass(frozen=True, slots=True)
class UnaddedCorrections:
    """Corrections of which the project's examples lack some that could be added to them.

    Attributes:
        file: in `data/`, where all of them are saved; None: they are not.
        count: of all that can be used; `there`: of those that are among the examples.
        rejected: those that cannot be used.
    """

    file: Path | None
    count: int
    there: int
    rejected: int


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
    if (earlier := _find_same(made, made.parent)) is None:
        return file
    made.unlink()
    return str(earlier)


def _find_same(made: Path, folder: Path) -> Path | None:
    """The earlier file of corrections in a folder that says the same as one."""
    found = (one for one in sorted(folder.glob("traces-*.jsonl")) if one != made)
    return next((one for one in found if filecmp.cmp(one, made, shallow=False)), None)


def find_unadded(workspace: Workspace, name: str) -> UnaddedCorrections | None:
    """The corrections of a release, whether they are saved or not; None: nothing of them could be
    added to the examples, or there are none to add to."""
    if workspace.project is None or not releases.list_traces(
        workspace, name, count=1, corrected=True
    ):
        return None
    with tempfile.TemporaryDirectory(prefix="assay-corrections-") as folder:
        made = releases.traces_to_data(workspace, Path(folder) / "traces.jsonl", name)
        if made.file is None:
            return None
        file = Path(made.file)
        try:
            forecast = _forecast(workspace, file)
        except (AssayError, OSError):  # whoever saves and adds them is told why they cannot be
            return None
        if not forecast.added:
            return None
        saved = _find_same(file, workspace.root / "data")
    return UnaddedCorrections(saved, made.written, forecast.repeated, made.rejected)


def _forecast(workspace: Workspace, file: Path) -> Addition:
    """Once for corrections and examples as they are, however often a page asks: all examples are
    read for it."""
    at, settings = data_file(workspace).stat(), project_of(workspace).text
    key = workspace.root, settings, (at.st_mtime_ns, at.st_size), sha256_file(file)
    return _FORECASTS.find(key, lambda: row_edits.forecast(workspace, file))
