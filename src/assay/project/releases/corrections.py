"""Corrected traces of a release, saved among the project's data: each once, however often asked;
and which of them have not been added to its examples."""

from __future__ import annotations

import filecmp
import hashlib
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

from assay.errors import AssayError, UsageError
from assay.project import releases, row_edits
from assay.project.recent_results import RecentResults
from assay.project.rows import data_file
from assay.project.workspace import Workspace, project_of
from assay.release import saved_corrections
from assay.release.examples import ExportedExamples
from assay.release.saved_corrections import CorrectionGroup, name_file
from assay.release.traces import Trace
from assay.store.files import stamp_of, write_atomic

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
    added to the examples, to one that is named by the day and by what it says: servers that share
    a database may have folders of their own, with another file of the same day.

    Where an earlier one says the same, that is returned and no other is made. Of nothing that is
    still to be saved, nothing is written or rejected.

    Raises:
        UsageError: no trace has a corrected answer, or some have changed meanwhile.
    """
    folder = workspace.root / "data"
    with workspace.store.lock(SAVE_LOCK):  # else two would each take the other's file for earlier
        unsaved = _list_unsaved(workspace, name)
        if not unsaved and releases.list_traces(workspace, name, count=1, corrected=True):
            return ExportedExamples(None, 0, 0, None, {}, None, 0)
        with tempfile.TemporaryDirectory(prefix="assay-corrections-") as scratch:
            made = releases.write_traces(workspace, unsaved, Path(scratch) / "traces.jsonl")
            file, is_new = _keep_once(made.file, folder, ".jsonl")
            beside, _ = _keep_once(made.rejected_file, folder, ".rejected.jsonl")
        made = replace(made, file=file, rejected_file=beside)
        if file is not None and not _remember(workspace, made, unsaved, anew=is_new):
            if is_new:
                Path(file).unlink()
            raise UsageError("corrections have changed while they were saved.", fix="Try again.")
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
        # On PostgreSQL another server's folder may have another file of this name.
        if made.file is not None and workspace.store.engine.dialect.name == "sqlite":
            _remember(workspace, made, corrected, anew=True)
    return made


def _remember(
    workspace: Workspace, made: ExportedExamples, corrected: list[Trace], *, anew: bool
) -> bool:
    """Remember which corrections a file in the project's folder has, see `mark_saved`.

    Args:
        anew: it was made; of an earlier one of its name, nothing is remembered any more.
    """
    if (name := name_file(workspace.root, Path(made.file or ""))) is None:
        return True
    if anew:
        saved_corrections.forget_file(workspace.store, workspace.name, name)
    used = [trace for trace in corrected if trace.id in made.used]
    return saved_corrections.mark_saved(workspace.store, workspace.name, used, name)


def _keep_once(draft: str | None, folder: Path, suffix: str) -> tuple[str | None, bool]:
    """A file in `folder` that says what a draft does; whether it is new."""
    if draft is None:
        return None, False
    content = Path(draft).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:8]
    for earlier in sorted(folder.glob(f"traces-*-{digest}*{suffix}")):
        if filecmp.cmp(earlier, draft, shallow=False):
            return str(earlier), False
    stem, number = f"traces-{date.today():%Y-%m-%d}-{digest}", 1
    target = folder / f"{stem}{suffix}"
    while target.exists():  # it was changed by hand
        number += 1
        target = folder / f"{stem}-{number}{suffix}"
    write_atomic(target, content)
    return str(target), True


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
class _ForecastKey:
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


_FORECASTS: RecentResults[_ForecastKey, UnaddedCorrections | None] = RecentResults(16)


def _read_state(workspace: Workspace, name: str, group: CorrectionGroup) -> _ForecastKey:
    file = None if group.file is None else workspace.root / group.file
    if file is not None and not file.is_file():
        file = None
    stamps = tuple(stamp_of(one) for one in (data_file(workspace), file) if one is not None)
    settings = project_of(workspace).text
    return _ForecastKey(workspace.root, name, settings, group, file, stamps)


def _forecast(workspace: Workspace, state: _ForecastKey) -> UnaddedCorrections | None:
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
