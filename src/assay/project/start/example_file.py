"""The file of examples that was brought and is no project yet: a copy, which is mended here.

file = keep_file(workspace, "tickets.csv", Path("/tmp/upload"))
remove_repeats(workspace, None)
read_lines(workspace)  # where its rows stand in the owner's file
read_origin(workspace, file)  # what that file is
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from assay import builtin, json_reader
from assay.config import Columns
from assay.config.names import check_line
from assay.data.checks import PROBLEMS_FILE, CheckReport, earlier_line
from assay.data.contents import Rules
from assay.data.inspection import inspect_file
from assay.data.problems import Problem
from assay.data.read import DetectedFormat, check_answers, detect, read
from assay.data.record_mask import RecordMask
from assay.data.rewrite import rewrite_all, write_as_csv
from assay.errors import DataError, StateError, UsageError
from assay.project.files import check_file
from assay.project.start.init import Draft
from assay.project.start.running_creation import check_idle
from assay.project.workspace import Workspace
from assay.store.files import replacing, write_json

LONGEST_LABEL = 1000
"""Characters of a label that is typed."""
_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """The file that was brought, of which a copy is kept.

    Attributes:
        name: what its owner calls it.
        format: name of its format; None: that of the copy.
        problems: of the file as a whole that the copy does not show.
    """

    name: str
    format: str | None = None
    problems: tuple[Problem, ...] = ()


def find_file(workspace: Workspace) -> Path | None:
    """The file that was brought and has not become a project yet."""
    found = sorted(path for path in _inbox(workspace).glob("*") if path.is_file())
    return found[0] if found else None


def keep_file(workspace: Workspace, name: str, source: Path) -> Path:
    """Keep a copy of a file that was brought, in the place of an earlier one.

    The first sheet of a workbook is kept as CSV, so that its rows can be corrected.

    Args:
        name: what its owner calls it.

    Raises:
        StateError: the folder is a project already, or becomes one of an earlier file now.
        UsageError: it has no name to keep it by.
        DataError: nothing of it could be an example, so that another file is needed.
    """
    check_empty(workspace)
    check_idle(workspace)
    clean = _NAME.sub("-", Path(name).name).strip(".-")[:120]
    if not clean:
        raise UsageError("the file has no valid name.")
    found = detect(source)
    check_answers(found, str(source))
    _check_records(found, source)
    is_workbook = found.format == "xlsx"
    path = _inbox(workspace) / (f"{Path(clean).stem}.csv" if is_workbook else clean)
    origin = FileOrigin(Path(name).name, found.format, _list_unread_sheets(source, found))
    lines: dict[int, int] = {}
    with replacing(path) as kept, tempfile.TemporaryDirectory() as folder:
        if is_workbook:
            source, workbook = Path(folder) / "sheet.csv", source
            lines = write_as_csv(workbook, source)
        with source.open("rb") as brought:
            shutil.copyfileobj(brought, kept)
        # Not after it: a crash in between would leave what is known of the former file with this
        # one.
        _forget_about(workspace)
    for earlier in path.parent.iterdir():
        if earlier != path:
            earlier.unlink()
    _write_lines(workspace, lines)
    write_json(_origin_file(workspace), asdict(origin))
    return path


def _list_unread_sheets(source: Path, found: DetectedFormat) -> tuple[Problem, ...]:
    if found.format != "xlsx":
        return ()
    notices = inspect_file(source).notices
    return tuple(one for one in notices if one.code == "several-sheets")


def _check_records(found: DetectedFormat, source: Path) -> None:
    """Refuse JSON of which no record can be read: columns would be asked for that are not there."""
    if found.fields or found.format not in ("json-objects", "jsonl-objects"):
        return
    problems = (one for row in read(source, found.format) for one in row.problems)
    first = next(problems, None)
    if first is not None:
        what = f"no record of the file can be read. Line {first.line}: {first.message}"
        raise DataError(what, where=str(source), fix=first.fix)


def keep_example_file(workspace: Workspace) -> Path:
    """Bring the built-in examples: a ferry operator's messages, one record each."""
    source = builtin.folder() / "tickets.jsonl"
    return keep_file(workspace, source.name, source)


def forget_file(workspace: Workspace) -> None:
    """Remove the file that was uploaded."""
    shutil.rmtree(_inbox(workspace), ignore_errors=True)
    _forget_about(workspace)


def _forget_about(workspace: Workspace) -> None:
    for about in (_lines_file(workspace), _origin_file(workspace), entries_file(workspace)):
        about.unlink(missing_ok=True)


def remove_repeats(workspace: Workspace, columns: Columns | None) -> int:
    """Take rows out of the uploaded file that say the same as an earlier one; how many.

    Args:
        columns: that were chosen; None: as they are found.

    Raises:
        UsageError: rows of this kind of file cannot be changed here.
    """
    file = _uploaded(workspace)
    with tempfile.TemporaryDirectory() as name:
        check_file(file, folder=file.parent, columns=columns, find_numbers=True, out=Path(name))
        with (Path(name) / PROBLEMS_FILE).open(encoding="utf-8") as lines:
            found = [json_reader.read(line) for line in lines]
    repeated = {one["line"] for one in found if one["code"] == "duplicate"}
    return _rewrite(workspace, lambda line, record: None if line in repeated else record)


def mask_personal_data(workspace: Workspace, columns: Columns | None, draft: Draft | None) -> int:
    """Replace secrets and personal data in the uploaded file by their kind (`RecordMask`); in how
    many rows.

    Args:
        columns: that were chosen, where nothing is proposed; None: as they are found.
        draft: by which the file is read, and an answer is a label, or a value of few, which stays;
            None: nothing is proposed.

    Raises:
        UsageError: rows of this kind of file cannot be changed here.
    """
    file, rules = _uploaded(workspace), Rules()
    if draft is None:
        form = detect(file, columns)
    else:
        form = replace(detect(file, draft.columns), format=draft.detected.format)
        proposal = draft.proposal
        rules = Rules(proposal.task, proposal.labels, proposal.schema)
    mask = RecordMask(form, rules)
    return _rewrite(workspace, lambda _, record: mask(record))


def rename_labels(workspace: Workspace, columns: Columns | None, names: Mapping[str, str]) -> int:
    """Give labels of the uploaded file other names, as it takes to join two; in how many rows.

    Args:
        columns: that were chosen; None: as they are found.
        names: the new name by the old one, which is taken as it stands in the file: white space
            may be all that it differs by from another.

    Raises:
        UsageError: a name can be none, or the file has no column of its own for the label.
    """
    file = _uploaded(workspace)
    for name in names.values():
        check_label(name)
    columns = columns or detect(file).columns
    if columns is None or len(columns.output) != 1:
        raise UsageError("labels can be renamed only where they are a column of a table.")
    [column] = columns.output

    def renamed(_: int, record: dict[str, Any]) -> dict[str, Any]:
        label = record.get(column)
        new = names.get(label) if isinstance(label, str) else None
        return record if new is None else {**record, column: new.strip()}

    return _rewrite(workspace, renamed)


def check_label(name: str) -> None:
    """Raises UsageError where a label cannot be called so."""
    if not name.strip():
        raise UsageError(
            "a label cannot be empty.", fix="Give it the name of another to join the two."
        )
    check_line(name, "the name", LONGEST_LABEL)


def find_joins(labels: Mapping[str, int]) -> dict[str, str]:
    """The labels that differ from a more frequent one in case or white space alone, each with the
    name that joins them.

    Args:
        labels: with how many rows each has.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        alike[" ".join(label.casefold().split())].append(label)
    names: dict[str, str] = {}
    for several in alike.values():
        if len(several) > 1:
            kept = " ".join(max(several, key=lambda label: (labels[label], label)).split())
            names |= {label: kept for label in several if label != kept}
    return names


def _uploaded(workspace: Workspace) -> Path:
    check_idle(workspace)
    file = find_file(workspace)
    if file is None:
        raise StateError("there is no uploaded file any more.", fix="Bring it again.")
    return file


def check_empty(workspace: Workspace) -> None:
    """Let a project begin in the folder.

    Raises:
        StateError: it is a project already.
    """
    if workspace.project is not None:
        raise StateError("this folder is already a project.", fix="Reload the page to see it.")


def _inbox(workspace: Workspace) -> Path:
    return workspace.store.folder / "inbox"


def read_lines(workspace: Workspace) -> dict[int, int]:
    """The line that a row of the uploaded copy has in its owner's file, by its line in the copy
    (of a workbook: the row of its sheet); empty where all lines are the same."""
    try:
        found = json_reader.read(_lines_file(workspace).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {int(line): original for line, original in found.items()}


def read_origin(workspace: Workspace, file: Path) -> FileOrigin:
    """What the file was, of which a copy is kept, as far as it is known."""
    try:
        found = json_reader.read(_origin_file(workspace).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return FileOrigin(file.name)
    problems = tuple(Problem(**one) for one in found["problems"])
    return FileOrigin(found["name"], found["format"], problems)


def entries_file(workspace: Workspace) -> Path:
    """Where what was said of the uploaded file is kept (`entries`)."""
    return workspace.store.folder / "inbox-entries.json"


def _write_lines(workspace: Workspace, lines: Mapping[int, int]) -> None:
    file = _lines_file(workspace)
    if all(line == original for line, original in lines.items()):
        file.unlink(missing_ok=True)
    else:
        write_json(file, lines)


def _origin_file(workspace: Workspace) -> Path:
    return workspace.store.folder / "inbox-origin.json"


def _lines_file(workspace: Workspace) -> Path:
    return workspace.store.folder / "inbox-lines.json"


def _rewrite(
    workspace: Workspace, change: Callable[[int, dict[str, Any]], dict[str, Any] | None]
) -> int:
    """Change records of the uploaded copy (`rewrite_all`), and remember where they were; how many
    were changed or taken out."""
    rewriting = rewrite_all(_uploaded(workspace), change)
    if rewriting.changed:
        before = read_lines(workspace)
        lines = {line: before.get(was, was) for line, was in rewriting.lines.items()}
        _write_lines(workspace, lines)
    return rewriting.changed


def with_lines(report: CheckReport, lines: Mapping[int, int]) -> CheckReport:
    """The report with the problems shown at the lines of another file, of which this is a copy.

    Args:
        lines: of the other file, by those of this one; one that is not there is the same.
    """

    def moved(one: Problem) -> Problem:
        earlier = earlier_line(one.code, one.message)
        message = one.message
        if earlier is not None:
            message = message.replace(f"line {earlier}", f"line {lines.get(earlier, earlier)}")
        return replace(one, line=lines.get(one.line, one.line), message=message)

    return replace(report, problems=tuple(map(moved, report.problems)))


def with_problems(report: CheckReport, problems: tuple[Problem, ...]) -> CheckReport:
    """The report with problems of another file, of which this is a copy."""
    counts = Counter(report.counts) + Counter(one.code for one in problems)
    return replace(report, problems=(*problems, *report.problems), counts=dict(counts))
