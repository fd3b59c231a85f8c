"""From one file of examples to a project in the folder that is served.

    file = keep_file(workspace, "tickets.csv", Path("/tmp/upload"))
    found = look(workspace, file, FileProjectOptions())
    create_here(workspace, found.draft)

What a person says on the way (which columns, which candidates) are `FileProjectOptions`; they
change what is proposed and nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from assay import builtin, json_reader
from assay.config import CONFIG_FILE, STARTER_MODEL, Columns, TaskKind
from assay.data.checks import PROBLEMS_FILE, CheckReport
from assay.data.inspection import inspect_file
from assay.data.privacy import mask_within
from assay.data.read import DetectedFormat, check_answers, detect, read
from assay.data.rewrite import rewrite_all, write_as_csv
from assay.errors import DataError, StateError, UsageError
from assay.progress import SILENT, Progress
from assay.project.files import check_file
from assay.project.knowledge import documents
from assay.project.project import Project
from assay.project.start.document_rows import find_document_column
from assay.project.start.init import (
    MACHINE_HOUR_USD,
    MACHINE_HOURS,
    MONTHLY_REQUESTS,
    SAMPLE,
    TABULAR,
    Choices,
    Draft,
    create,
    draft,
)
from assay.project.workspace import Workspace
from assay.store.files import replacing
from assay.store.store import OWNER

SHOWN_ROWS = 3
"""Of a file whose columns have to be chosen."""
KNOWLEDGE = "documents"
"""The knowledge base of documents that were brought together with the examples."""
_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class FileProjectOptions:
    """What a person has said; None means: as it is proposed.

    Attributes:
        document: the column that names the document which answers a row; "" is none.
        candidates: names of those that are compared.
        abstain: the answer of rows that no document answers; "" is none.
    """

    input: tuple[str, ...] | None = None
    output: tuple[str, ...] | None = None
    group: str | None = None
    document: str | None = None
    task: TaskKind | None = None
    candidates: tuple[str, ...] | None = None
    system_prompt: str | None = None
    good_enough: float | None = None
    monthly_requests: int = MONTHLY_REQUESTS
    machine_hour_usd: float | None = MACHINE_HOUR_USD
    machine_hours_per_month: float = MACHINE_HOURS
    abstain: str | None = None


@dataclass(frozen=True, slots=True)
class FileFindings:
    """What is in a file.

    Attributes:
        fields: its columns, where it has some.
        sample: its first rows, cells by column, where the columns have to be chosen.
        question: why no project can be drafted yet (often: which columns are what); else None.
        report: None where the columns are not known yet.
    """

    file: Path
    fields: tuple[str, ...]
    draft: Draft | None
    question: DataError | None
    report: CheckReport | None
    sample: tuple[dict[str, Any], ...] = ()


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
        StateError: the folder is a project already.
        UsageError: it has no name to keep it by.
        DataError: nothing of it could be an example, so that another file is needed.
    """
    _check_empty(workspace)
    clean = _NAME.sub("-", Path(name).name).strip(".-")[:120]
    if not clean:
        raise UsageError("the file has no valid name.")
    check_answers(detect(source), str(source))
    is_workbook = detect(source).format == "xlsx"
    path = _inbox(workspace) / (f"{Path(clean).stem}.csv" if is_workbook else clean)
    with replacing(path) as kept, tempfile.TemporaryDirectory() as folder:
        if is_workbook:
            source, workbook = Path(folder) / "sheet.csv", source
            write_as_csv(workbook, source)
        with source.open("rb") as brought:
            shutil.copyfileobj(brought, kept)
    for earlier in path.parent.iterdir():
        if earlier != path:
            earlier.unlink()
    return path


def keep_example_file(workspace: Workspace) -> Path:
    """Bring the built-in examples: a ferry operator's messages, one record each."""
    source = builtin.folder() / "tickets.jsonl"
    return keep_file(workspace, source.name, source)


def forget_file(workspace: Workspace) -> None:
    """Remove the file that was uploaded."""
    shutil.rmtree(_inbox(workspace), ignore_errors=True)


def remove_repeats(workspace: Workspace, options: FileProjectOptions) -> int:
    """Take rows out of the uploaded file that say the same as an earlier one; how many.

    Raises:
        UsageError: rows of this kind of file cannot be changed here.
    """
    file = _uploaded(workspace)
    with tempfile.TemporaryDirectory() as name:
        check_file(file, folder=file.parent, columns=_columns(options), out=Path(name))
        with (Path(name) / PROBLEMS_FILE).open(encoding="utf-8") as lines:
            found = [json_reader.read(line) for line in lines]
    repeated = {one["line"] for one in found if one["code"] == "duplicate"}
    return rewrite_all(file, lambda line, record: None if line in repeated else record)


def mask_personal_data(workspace: Workspace) -> int:
    """Replace secrets and personal data in the uploaded file by their kind; in how many rows.

    Raises:
        UsageError: rows of this kind of file cannot be changed here.
    """
    return rewrite_all(_uploaded(workspace), lambda _, record: mask_within(record)[0])


def rename_labels(
    workspace: Workspace, options: FileProjectOptions, names: Mapping[str, str]
) -> int:
    """Give labels of the uploaded file other names, as it takes to join two; in how many rows.

    Args:
        names: the new name by the old one, which is taken as it stands in the file: white space
            may be all that it differs by from another.

    Raises:
        UsageError: a name is empty, or the file has no column of its own for the label.
    """
    file = _uploaded(workspace)
    if not all(name.strip() for name in names.values()):
        raise UsageError("a label cannot be empty.", fix="Give it the name of another label.")
    columns = _columns(options) or detect(file).columns
    if columns is None or len(columns.output) != 1:
        raise UsageError("labels can be renamed only where they are a column of a table.")
    [column] = columns.output

    def renamed(_: int, record: dict[str, Any]) -> dict[str, Any]:
        label = record.get(column)
        new = names.get(label) if isinstance(label, str) else None
        return record if new is None else {**record, column: new.strip()}

    return rewrite_all(file, renamed)


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
    file = find_file(workspace)
    if file is None:
        raise StateError("there is no uploaded file any more.", fix="Bring it again.")
    return file


def _columns(options: FileProjectOptions) -> Columns | None:
    if options.input and options.output:
        return Columns(
            input=[*options.input],
            output=[*options.output],
            group=options.group,
            document=options.document or None,
        )
    return None


def list_documents(workspace: Workspace) -> list[str]:
    """Documents that can be searched already, brought before there is a project."""
    if KNOWLEDGE not in documents.names(workspace):
        return []
    return [found.path for found in documents.base(workspace, KNOWLEDGE).documents()]


def look(
    workspace: Workspace, file: Path, options: FileProjectOptions, progress: Progress = SILENT
) -> FileFindings:
    """Find out what a file is and what is wrong with it, and propose.

    Raises:
        DataError: it cannot be read at all.
    """
    columns = _columns(options)
    detected = detect(file, columns)
    if options.document is None and (known := columns or detected.columns) is not None:
        options = replace(options, document=_find_document_column(workspace, file, detected, known))
    fields = tuple(detected.fields)
    sample = inspect_file(file).sample[:SHOWN_ROWS] if fields else ()
    if (columns or detected.columns) is None and detected.format in TABULAR:
        unclear = DataError("it is not clear which columns are input and output.", where=file.name)
        return FileFindings(file, fields, None, unclear, None, sample)
    drafted: Draft | None = None
    question: DataError | None = None
    try:
        choices = _choices(workspace, file, options)
        texts = _texts(workspace) if choices.documents else ()
        drafted = draft(_slug(file), choices, progress, texts=texts)
    except DataError as error:
        question = error
    report = check_file(
        file,
        folder=file.parent,
        format=detected.format,
        columns=columns or detected.columns,
        task=options.task if drafted is None else drafted.proposal.task,
        progress=progress,
    )
    if drafted is not None:
        drafted = _as_wanted(drafted, options)
    return FileFindings(file, fields, drafted, question, report, sample)


def _find_document_column(
    workspace: Workspace, file: Path, detected: DetectedFormat, columns: Columns
) -> str | None:
    """The column that names documents which were brought."""
    names = set(list_documents(workspace))
    if not names:
        return None
    rows = islice(read(file, detected.format, columns), SAMPLE)
    records = (row.raw for row in rows if isinstance(row.raw, dict))
    return find_document_column(records, {*columns.input, *columns.output}, names)


def _texts(workspace: Workspace) -> Iterator[str]:
    return map("\n".join, documents.base(workspace, KNOWLEDGE).texts())


def create_here(workspace: Workspace, drafted: Draft, progress: Progress = SILENT) -> Project:
    """Write the drafted project into the folder that is served; all of it, or nothing.

    Raises:
        StateError: the folder is a project already, something is in the way, or documents are still
            being read, which the project would not know of.
    """
    _check_empty(workspace)
    if unread := documents.count_unread(workspace, KNOWLEDGE):
        raise StateError(
            f"{unread} of the documents that were brought "
            f"{'is' if unread == 1 else 'are'} still being read.",
            fix="Wait until all of them are read, then create the project.",
        )
    root, state = workspace.root, workspace.store.folder
    for name in ("data", "assay.schema.json", ".gitignore"):
        if (root / name).exists():
            raise StateError(
                f"{name} already exists in this folder and would be overwritten.",
                where=str(root),
                fix="Serve an empty folder, or move it away.",
            )
    with tempfile.TemporaryDirectory(dir=state, prefix="new-") as made:
        folder = Path(made) / "project"
        create(drafted, folder=folder, progress=progress)
        workspace.store.set(OWNER, workspace.name)
        # assay.yaml last: until it is there the folder is no project.
        rest = sorted(folder.iterdir(), key=lambda path: path.name == CONFIG_FILE)
        for path in rest:
            os.replace(path, root / path.name)
    forget_file(workspace)
    return Project(root)


def _check_empty(workspace: Workspace) -> None:
    if workspace.project is not None:
        raise StateError("this folder is already a project.", where=str(workspace.root))


def _inbox(workspace: Workspace) -> Path:
    return workspace.store.folder / "inbox"


def _choices(workspace: Workspace, file: Path, options: FileProjectOptions) -> Choices:
    return Choices(
        data=file,
        input=list(options.input) if options.input else None,
        output=list(options.output) if options.output else None,
        group=options.group,
        document=options.document or None,
        abstain=options.abstain,
        task=options.task,
        model=STARTER_MODEL,
        knowledge=KNOWLEDGE if list_documents(workspace) else None,
        monthly_requests=options.monthly_requests,
        machine_hour_usd=options.machine_hour_usd,
        machine_hours_per_month=options.machine_hours_per_month,
    )


def _as_wanted(drafted: Draft, options: FileProjectOptions) -> Draft:
    proposal = drafted.proposal
    if options.candidates:
        proposal = replace(proposal, candidates=list(options.candidates))
    if options.system_prompt is not None:
        proposal = replace(proposal, system_prompt=options.system_prompt)
    if options.good_enough is not None:
        proposal = replace(proposal, good_enough=options.good_enough)
    return replace(drafted, proposal=proposal)


def _slug(file: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:40] or "project"
