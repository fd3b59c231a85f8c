"""Corrected traces of a release, saved among the project's data: each once, however often asked;
and which of them have not been added to its examples."""

from __future__ import annotations

import filecmp
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

from assay.errors import AssayError
from assay.project import releases, row_edits
from assay.project.recent_results import RecentResults
from assay.project.rows import data_file
from assay.project.workspace import Workspace, project_of
from assay.release import saved_corrections
from assay.release.examples import ExportedExamples, rejected_file
from assay.release.saved_corrections import CorrectionGroup, name_file
from assay.release.traces import Trace

SAVE_LOCK = "corrections.lock"


@dataclass(frozen=True, slots=True)
class UnaddedCorrections:
    """Corrections that were not added to the project's examples, some of which could be.

    Attributes:
        file: in the project's folder, where they are saved, perhaps changed by hand since; None:
            they are not.
        count: of all that can be used; `there`: of those that are among the examples.
        contradicting: of those that could be added, for whose input an example has another answer.
        rejected: those that cannot be used.
    """

    file: str | None
    count: int
    there: int
    contradicting: int
    rejected: int


def save(workspace: Workspace, name: str) -> ExportedExamples:
    """Write the corrected traces of a release that are in no file of `data/` yet, and were not
    added to the examples, to one that is named by the day.

    Where an earlier one says the same, that is returned and no other is made. Of nothing that is
    still to be saved, nothing is written or rejected.

    Raises:
        UsageError: no trace has a corrected answer.
    """
    folder = workspace.root / "data"
    with workspace.store.lock(SAVE_LOCK):  # else two would each take the other's file for earlier
        unsaved = _list_unsaved(workspace, name)
        if not unsaved and releases.list_traces(workspace, name, count=1, corrected=True):
            return ExportedExamples(None, 0, 0, None, {}, None, 0)
        target, number = folder / f"traces-{date.today():%Y-%m-%d}.jsonl", 1
        while target.exists() or rejected_file(target).exists():
            number += 1
            target = folder / f"traces-{date.today():%Y-%m-%d}-{number}.jsonl"
        made = releases.write_traces(workspace, unsaved, target)
        file, beside = _keep_once(made.file), _keep_once(made.rejected_file)
        made = replace(made, file=file, rejected_file=beside)
        _remember(workspace, made, unsaved, anew=file == str(target))
    return made


def export(workspace: Workspace, to: Path, name: str | None) -> ExportedExamples:
    """Write all corrected traces of a release, or of all, to a file of examples.

    Raises:
        UsageError: there is something at `to` or beside it, or no trace has a corrected answer.
    """
    corrected = releases.list_traces(workspace, name, count=releases.MOST_TO_DATA, corrected=True)[
        ::-1
    ]
    with workspace.store.lock(SAVE_LOCK):
        made = releases.write_traces(workspace, corrected, to)
        _remember(workspace, made, corrected, anew=True)
    return made


def _remember(
    workspace: Workspace, made: ExportedExamples, corrected: list[Trace], *, anew: bool
) -> None:
    """Remember which corrections a file has; `anew`: of an earlier one of its name, nothing."""
    if made.file is None or (name := name_file(workspace.root, Path(made.file))) is None:
        return
    if anew:
        saved_corrections.forget_file(workspace.store, workspace.name, name)
    used = [trace for trace in corrected if trace.id in made.used]
    saved_corrections.mark_saved(workspace.store, workspace.name, used, name)


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


def _list_unsaved(workspace: Workspace, name: str) -> list[Trace]:
    """Oldest first."""
    store, project = workspace.store, workspace.name
    files = {group.file for group in saved_corrections.find_unadded(store, project, name)}
    lost = [file for file in files if file and not (workspace.root / file).is_file()]
    return saved_corrections.list_unsaved(
        store, project, name, lost=lost, count=releases.MOST_TO_DATA
    )[::-1]


def find_unadded(workspace: Workspace, name: str) -> UnaddedCorrections | None:
    """The corrections of a release that were not added to the examples: those of the oldest file
    with some that could be, else those that are in none; None: nothing of them could be added, or
    there are no examples to add to.

    What is found is remembered as long as corrections, files and settings stay the same: all
    examples are read for it.
    """
    if workspace.project is None:
        return None
    for group in saved_corrections.find_unadded(workspace.store, workspace.name, name):
        try:
            state = _read_state(workspace, name, group)
            found = _FORECASTS.find(state, partial(_forecast, workspace, state))
        except (AssayError, OSError):  # whoever saves and adds them is told why they cannot be
            continue
        if found is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class _State:
    """Corrections and examples, of which the same is forecast as long as both are as they are.

    Attributes:
        stamps: of the file of examples, and of that with the corrections.
    """

    root: Path
    release: str
    settings: str
    group: CorrectionGroup
    file: Path | None
    stamps: tuple[tuple[int, int], ...]


_FORECASTS: RecentResults[_State, UnaddedCorrections | None] = RecentResults(16)


def _read_state(workspace: Workspace, name: str, group: CorrectionGroup) -> _State:
    file = None if group.file is None else workspace.root / group.file
    if file is not None and not file.is_file():
        file = None
    stamps = tuple(_stamps(data_file(workspace), file))
    settings = project_of(workspace).text
    return _State(workspace.root, name, settings, group, file, stamps)


def _stamps(*files: Path | None) -> Iterator[tuple[int, int]]:
    for file in files:
        if file is not None:
            at = file.stat()
            yield at.st_mtime_ns, at.st_size


def _forecast(workspace: Workspace, state: _State) -> UnaddedCorrections | None:
    if state.file is not None:
        found = _forecast_file(workspace, state.file)
        return None if found is None else replace(found, file=state.group.file)
    with tempfile.TemporaryDirectory(prefix="assay-corrections-") as folder:
        unsaved = _list_unsaved(workspace, state.release)
        made = releases.write_traces(workspace, unsaved, Path(folder) / "traces.jsonl")
        if made.file is None:
            return None
        found = _forecast_file(workspace, Path(made.file))
    return None if found is None else replace(found, rejected=made.rejected)


def _forecast_file(workspace: Workspace, file: Path) -> UnaddedCorrections | None:
    found = row_edits.forecast(workspace, file)
    if not found.added:
        return None
    count = found.added + found.repeated + found.unfit
    return UnaddedCorrections(None, count, found.repeated, found.contradicting, found.rejected)
