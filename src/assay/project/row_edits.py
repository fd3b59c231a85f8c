"""The file of examples changed: a row mended or taken out, rows of another file added.

    change(workspace, line, record, before)
    addition = add(workspace, Path("corrected.jsonl"))
    forecast(workspace, Path("corrected.jsonl")).added      # 0: it is all there

After every change the examples are divided anew; where that cannot be done, the file is as it was.
A file in the project's folder whose encoding lacks a character of a row becomes UTF-8; one that
lies elsewhere, which somebody else may read, never does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from assay.data.rewrite import Conversion, append, record_at, rewrite
from assay.data.split import has_split
from assay.errors import AssayError, DataError
from assay.progress import SILENT, Progress
from assay.project.addition import Addition, find_reasons
from assay.project.new_rows import find_new_rows
from assay.project.rows import data_file, open_visible_rows
from assay.project.workspace import Workspace, project_of
from assay.release.saved_corrections import mark_added, name_file
from assay.store.audit import audit
from assay.store.files import write_atomic

CHANGE_LOCK = "rows.lock"
Private = Literal["keep", "mask", "ask"]
"""Secrets and personal data stay as they are, are replaced by their kind, or keep the rows from
being added before somebody has said which of the two it is to be."""


def record(workspace: Workspace, line: int) -> Any:
    """A row as it stands in the file, see `assay.data.rewrite.record_at`.

    Raises:
        DataError: there is no such row among those that may be seen.
        UsageError: rows of this kind of file cannot be changed here, or others of its record are
            locked.
    """
    open_visible_rows(workspace).refuse_locked(line)
    return record_at(data_file(workspace), line)


def change(
    workspace: Workspace,
    line: int,
    record: dict[str, Any] | None,
    before: Any,
    progress: Progress = SILENT,
) -> Conversion | None:
    """Mend a row in the file, or take it out (None), and divide the examples again.

    Where that cannot be done (the holdout was opened and would become another one), the file is as
    it was before; examples that could not be divided before may need more rows to be mended.

    Returns:
        what became of the whole file, if it became UTF-8 for this row.

    Raises:
        DataError: there is no such row, it has changed since, or the encoding of a file outside
            the project lacks a character of it.
        UsageError: other rows of its record are locked.
        HoldoutError: see above.
    """
    with workspace.store.lock(CHANGE_LOCK):  # what is put back holds nobody else's change
        visible = open_visible_rows(workspace, progress)
        visible.refuse_locked(line)
        file = data_file(workspace)
        with _divided_anew(workspace, file, visible.is_divided, progress):
            may_convert = _is_own(workspace, file)
            converted = rewrite(file, line, record, before, may_convert=may_convert)
    what = "data.remove" if record is None else "data.change"
    audit(workspace.store, workspace.name, workspace.who, what, f"line {line}")
    return converted


def add(
    workspace: Workspace,
    file: Path,
    name: str | None = None,
    progress: Progress = SILENT,
    *,
    private: Private = "keep",
) -> Addition:
    """Append the rows of a file to the project's, in the form that its rows have, and divide again.

    The file may have the columns of the project's file, or its format; conversations also fit a
    project with columns, where a question and its answer are what a row of it would say. What
    stands there already, as it is or masked, is left out, so that a file that is added twice
    changes nothing the second time.

    Args:
        name: what the file's owner calls it.
        private: what becomes of secrets and personal data in rows that are added.

    Returns:
        What became of the rows; of "ask", where `private` counts some, what would become of them.

    Raises:
        DataError: no row of the file can be used, or it cannot be read.
        UsageError: its rows do not fit the project's file, or that is of a kind that is not changed
            here.
        HoldoutError: the holdout was opened and would become another one.
    """
    project, target = project_of(workspace), data_file(workspace)
    try:
        with workspace.store.lock(CHANGE_LOCK):
            may_convert = _is_own(workspace, target)
            addition, fresh = find_new_rows(
                workspace,
                file,
                mask=private == "mask",
                may_convert=may_convert,
                progress=progress,
            )
            if private == "ask" and addition.private:
                return addition
            if fresh:
                is_divided = has_split(project.split_folder)
                with _divided_anew(workspace, target, is_divided, progress):
                    records = [row.record for row in fresh]
                    converted = append(target, records, may_convert=may_convert)
                reasons = find_reasons(project.split_folder, [row.texts for row in fresh])
                used = [row for row, reason in zip(fresh, reasons, strict=True) if reason is None]
                addition = replace(
                    addition,
                    converted=converted,
                    contradicting=sum(row.contradicts for row in used),
                    quarantined=dict(Counter(reason for reason in reasons if reason is not None)),
                )
    except AssayError as error:
        called = name or str(file)
        error.calling(str(file), called)
        own = project.config.data.file  # is as it was: what is wrong came with the rows
        if error.where == own:
            error.calling(own, f"{called}, added to {own}")
        raise
    saved = name_file(workspace.root, file)
    # What was left out can be added once the labels, the schema or the file are mended.
    if saved is not None and not addition.unfit and not addition.rejected:
        mark_added(workspace.store, workspace.name, saved)  # where it has corrections
    subject, details = (name or file.name)[:200], {"rows": addition.added}
    audit(workspace.store, workspace.name, workspace.who, "data.add", subject, details)
    return addition


def forecast(workspace: Workspace, file: Path, progress: Progress = SILENT) -> Addition:
    """What `add` would do with a file, which changes nothing.

    Raises:
        DataError, UsageError: as `add`.
    """
    may_convert = _is_own(workspace, data_file(workspace))
    return find_new_rows(workspace, file, mask=False, may_convert=may_convert, progress=progress)[0]


def _is_own(workspace: Workspace, file: Path) -> bool:
    """Whether a file lies in the folder of the project, where only Assay has to read it."""
    return file.resolve().is_relative_to(workspace.root.resolve())


@contextmanager
def _divided_anew(
    workspace: Workspace, file: Path, is_divided: bool, progress: Progress
) -> Iterator[None]:
    """Divide the examples after a change of the file, or put it back.

    Args:
        is_divided: they were before; if not, more rows may have to be mended before they can be.
    """
    before = file.read_bytes()
    yield
    try:
        project_of(workspace).split(progress)
    except AssayError as error:
        if is_divided or not isinstance(error, DataError):
            write_atomic(file, before)
            raise
