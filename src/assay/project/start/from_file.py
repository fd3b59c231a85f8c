"""From one file of examples to a project in the folder that is served.

    found = look(workspace, find_file(workspace), FileProjectOptions())
    create_here(workspace, found.draft)
    create_from(workspace, find_file(workspace), FileProjectOptions())  # both, one at a time

What a person says on the way (which columns, which candidates) are `FileProjectOptions`; they
change what is proposed and nothing else.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from assay.config import STARTER_MODEL, Columns, TaskKind
from assay.data.checks import CheckReport
from assay.data.inspection import inspect_file
from assay.data.read import DetectedFormat, detect, find_unread, read
from assay.errors import AssayError, DataError, StateError, UsageError
from assay.progress import SILENT, Progress
from assay.project import new_project
from assay.project.files import check_file
from assay.project.knowledge import documents
from assay.project.knowledge.example_search import search_base
from assay.project.project import Project
from assay.project.start.creation import create
from assay.project.start.document_rows import find_document_column
from assay.project.start.example_file import (
    FileOrigin,
    check_empty,
    forget_file,
    read_lines,
    read_origin,
    with_lines,
    with_problems,
)
from assay.project.start.init import (
    MACHINE_HOUR_USD,
    MACHINE_HOURS,
    MONTHLY_REQUESTS,
    SAMPLE,
    TABULAR,
    Choices,
    Draft,
    draft,
)
from assay.project.start.running_creation import begin_creation, check_idle, forget_failure
from assay.project.workspace import Workspace
from assay.store.store import OWNER

SHOWN_ROWS = 3
"""Of a file whose columns have to be chosen."""
KNOWLEDGE = "documents"
"""The knowledge base of documents that were brought together with the examples."""
COLUMNS = ("input", "output", "group", "document")
"""What a person says of columns, as the fields of `FileProjectOptions`."""


@dataclass(frozen=True, slots=True)
class FileProjectOptions:
    """What a person has said; None means: as it is proposed.

    Attributes:
        document: the column that names the document which answers a row; "" is none.
        kept_task: of the labels that were renamed, which are labels however they look now; `task`,
            which is chosen, comes before it.
        candidates: names of those that are compared.
        format: of conversations, by which each turn or the last one alone is a row.
        abstain: the answer of rows that no document answers; "" is none.
    """

    input: tuple[str, ...] | None = None
    output: tuple[str, ...] | None = None
    group: str | None = None
    document: str | None = None
    task: TaskKind | None = None
    kept_task: TaskKind | None = None
    candidates: tuple[str, ...] | None = None
    system_prompt: str | None = None
    good_enough: float | None = None
    monthly_requests: int = MONTHLY_REQUESTS
    machine_hour_usd: float | None = MACHINE_HOUR_USD
    machine_hours_per_month: float = MACHINE_HOURS
    abstain: str | None = None
    format: str | None = None

    @property
    def columns(self) -> Columns | None:
        """What was said of columns; None: as they are found."""
        if not self.input or not self.output:
            return None
        return Columns(
            input=[*self.input],
            output=[*self.output],
            group=self.group,
            document=self.document or None,
        )


@dataclass(frozen=True, slots=True)
class FileFindings:
    """What is in a file.

    Attributes:
        file: the copy that is kept; origin: the file that was brought.
        fields: its columns, where it has some.
        unread: fields of conversations that nothing reads.
        sample: its first rows, cells by column, where the columns have to be chosen.
        question: why no project can be drafted yet (often: which columns are what); else None.
        report: None where the columns are not known yet. Its lines are those of the file that was
            brought, whatever was taken out of the copy since.
    """

    file: Path
    origin: FileOrigin
    fields: tuple[str, ...]
    draft: Draft | None
    question: DataError | None
    report: CheckReport | None
    sample: tuple[dict[str, Any], ...] = ()
    unread: tuple[str, ...] = ()


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
        StateError: the folder is a project already, or the file was replaced or removed meanwhile.
    """
    check_empty(workspace)
    if not file.is_file():
        raise StateError(
            "the file that this page shows was replaced or removed meanwhile, in another tab or by "
            "somebody else.",
            fix="Reload the page to see what is there now.",
        )
    origin = read_origin(workspace, file)
    try:
        return _look(workspace, file, origin, options, progress)
    except AssayError as error:
        error.calling(str(file), origin.name)
        raise


def _look(
    workspace: Workspace,
    file: Path,
    origin: FileOrigin,
    options: FileProjectOptions,
    progress: Progress,
) -> FileFindings:
    columns = options.columns
    detected = detect(file, columns)
    if options.document is None and (known := columns or detected.columns) is not None:
        options = replace(options, document=_find_document_column(workspace, file, detected, known))
    fields = tuple(detected.fields)
    sample = inspect_file(file).sample[:SHOWN_ROWS] if fields else ()
    if (columns or detected.columns) is None and detected.format in TABULAR:
        unclear = DataError(
            "it is not clear which columns are input and output.", where=origin.name
        )
        return FileFindings(file, origin, fields, None, unclear, None, sample)
    drafted: Draft | None = None
    question: DataError | None = None
    lines = read_lines(workspace)
    try:
        choices = _choices(workspace, file, options)
        drafted = _draft(workspace, file, choices, lines, progress)
        kept = options.kept_task if options.task is None else None
        if kept is not None and drafted.proposal.task != kept:
            drafted = _draft(workspace, file, replace(choices, task=kept), lines, progress)
    except DataError as error:
        error.calling(str(file), origin.name)
        question = error
    report = check_file(
        file,
        folder=file.parent,
        format=(options.format or detected.format) if drafted is None else drafted.detected.format,
        columns=(columns or detected.columns) if drafted is None else drafted.columns,
        find_numbers=drafted is None,
        task=options.task or options.kept_task if drafted is None else drafted.proposal.task,
        progress=progress,
    )
    if drafted is None and report.valid == 0:
        # Without a line: that of the copy may be another than that of the file that was brought.
        question = DataError("the file has no usable examples.", where=origin.name)
    if drafted is not None:
        drafted = _as_wanted(drafted, options)
    report = with_problems(with_lines(report, lines), origin.problems)
    unread = find_unread(detected)
    return FileFindings(file, origin, fields, drafted, question, report, sample, unread)


def _draft(
    workspace: Workspace, file: Path, choices: Choices, lines: dict[int, int], progress: Progress
) -> Draft:
    search = partial(search_base, workspace, KNOWLEDGE) if choices.documents else None
    return draft(_slug(file), choices, progress, search=search, lines=lines)


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


def discard(workspace: Workspace) -> None:
    """Remove the file that was brought. Documents that were brought with it stay.

    Raises:
        StateError: a project is being created of it.
    """
    check_idle(workspace)
    forget_file(workspace)
    forget_failure(workspace)


def create_from(workspace: Workspace, file: Path, options: FileProjectOptions) -> Project:
    """Create the project that is proposed of a file; how far it is: `read_creation`.

    Raises:
        DataError: none can be proposed.
        StateError: one is being created already, or see `create_here`.
    """
    with begin_creation(workspace) as progress:
        found = look(workspace, file, options, progress)
        if found.draft is None:  # another tab has brought another file
            raise found.question or UsageError("the file has changed.", fix="Reload the page.")
        return create_here(workspace, found.draft, progress)


def create_here(workspace: Workspace, drafted: Draft, progress: Progress = SILENT) -> Project:
    """Write the drafted project into the folder that is served; all of it, or nothing.

    Raises:
        StateError: the folder is a project already, something is in the way, or documents are still
            being read, which the project would not know of.
    """
    # Of an earlier call that something was in the way of.
    new_project.finish(workspace.root, lambda: workspace.store)
    check_empty(workspace)
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
        new_project.place(folder, root, lambda: workspace.store)
    forget_file(workspace)
    return Project(root)


def _choices(workspace: Workspace, file: Path, options: FileProjectOptions) -> Choices:
    return Choices(
        data=file,
        input=list(options.input) if options.input else None,
        output=list(options.output) if options.output else None,
        group=options.group,
        document=options.document or None,
        abstain=options.abstain,
        format=options.format,
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
    spelled = unicodedata.normalize("NFKD", file.stem.casefold())  # ä is a and two dots
    plain = "".join(letter for letter in spelled if not unicodedata.combining(letter))
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "project"
