"""The file of examples changed: a row mended or taken out, rows of another file added.

    change(workspace, line, record, before)
    addition = add(workspace, Path("corrected.jsonl"))
    forecast(workspace, Path("corrected.jsonl")).added      # 0: it is all there

After every change the examples are divided anew; where that cannot be done, the file is as it was.
A file in the project's folder whose encoding lacks a character of a row becomes UTF-8; one that
lies elsewhere, which somebody else may read, never does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.config import Columns, join_names
from assay.data.checks import REJECTED_FILE, check
from assay.data.formats.objects import record_of, shape
from assay.data.formats.record import RecordProblems, json_text, text_of
from assay.data.inspection import inspect_file
from assay.data.normal import key64
from assay.data.problems import CODES, OF_THE_FILE, problem
from assay.data.read import CONTAINER_FORMATS, DetectedFormat, detect, read
from assay.data.rewrite import Conversion, append, find_unwritable, record_at, rewrite
from assay.data.spelling import SPELLING_FIX, Spellings
from assay.data.split import has_split
from assay.errors import AssayError, DataError, Step, UsageError
from assay.example import Example
from assay.progress import SILENT, Progress
from assay.project.addition import MOST_TOLD, Addition, Text, count_quarantined
from assay.project.files import conversation, fit_columns
from assay.project.rows import data_file, open_visible_rows
from assay.project.workspace import Workspace, project_of
from assay.store.audit import audit
from assay.store.files import write_atomic

CHANGE_LOCK = "rows.lock"
INSTRUCTING = ("system", "developer")
"""Roles of turns that a row of a table does not hold."""


def record(workspace: Workspace, line: int) -> Any:
    """A row as it stands in the file, see `assay.data.rewrite.record_at`.

    Raises:
        DataError: there is no such row among those that may be seen.
        UsageError: rows of this kind of file cannot be changed here.
    """
    open_visible_rows(workspace).problems_of(line)
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
        HoldoutError: see above.
    """
    with workspace.store.lock(CHANGE_LOCK):  # what is put back holds nobody else's change
        visible = open_visible_rows(workspace, progress)
        visible.problems_of(line)
        file = data_file(workspace)
        with _divided_anew(workspace, file, visible.is_divided, progress):
            may_convert = _is_own(workspace, file)
            converted = rewrite(file, line, record, before, may_convert=may_convert)
    what = "data.remove" if record is None else "data.change"
    audit(workspace.store, workspace.name, workspace.who, what, f"line {line}")
    return converted


def add(
    workspace: Workspace, file: Path, name: str | None = None, progress: Progress = SILENT
) -> Addition:
    """Append the rows of a file to the project's, in the form that its rows have, and divide again.

    The file may have the columns of the project's file, or its format; conversations also fit a
    project with columns, where a question and its answer are what a row of it would say. What
    stands there already is left out, so that a file that is added twice changes nothing the second
    time.

    Args:
        name: what the file's owner calls it.

    Raises:
        DataError: no row of the file can be used, or it cannot be read.
        UsageError: its rows do not fit the project's file, or that is of a kind that is not changed
            here.
        HoldoutError: the holdout was opened and would become another one.
    """
    project, target = project_of(workspace), data_file(workspace)
    try:
        with workspace.store.lock(CHANGE_LOCK):
            addition, fresh = _compare(workspace, file, progress)
            if fresh:
                is_divided = has_split(project.split_folder)
                with _divided_anew(workspace, target, is_divided, progress):
                    records = [record for record, _ in fresh]
                    converted = append(target, records, may_convert=_is_own(workspace, target))
                why = count_quarantined(project.split_folder, [said for _, said in fresh])
                addition = replace(addition, converted=converted, quarantined=why)
    except AssayError as error:
        called = name or str(file)
        error.calling(str(file), called)
        own = project.config.data.file  # is as it was: what is wrong came with the rows
        if error.where == own:
            error.calling(own, f"{called}, added to {own}")
        raise
    subject, details = (name or file.name)[:200], {"rows": addition.added}
    audit(workspace.store, workspace.name, workspace.who, "data.add", subject, details)
    return addition


def forecast(workspace: Workspace, file: Path, progress: Progress = SILENT) -> Addition:
    """What `add` would do with a file, which changes nothing.

    Raises:
        DataError, UsageError: as `add`.
    """
    return _compare(workspace, file, progress)[0]


def _compare(
    workspace: Workspace, file: Path, progress: Progress
) -> tuple[Addition, list[tuple[dict[str, Any], list[Text]]]]:
    """What becomes of the rows of a file that are to be added, and those that are new to the
    project's file: the record of each, and what it says."""
    config, target = project_of(workspace).config, data_file(workspace)
    ours = detect(target, config.data.columns)
    theirs, record = _match(ours, file, config.system_prompt)
    kept: list[Example] = []
    with tempfile.TemporaryDirectory(prefix="assay-add-") as name:
        report = check(
            file,
            format=theirs.format,
            columns=theirs.columns,
            task=config.task,
            labels=config.labels,
            schema=config.output_schema,
            system_prompt=config.system_prompt,
            out=Path(name),
            keep=kept.append,
            progress=progress,
        )
        with (Path(name) / REJECTED_FILE).open(encoding="utf-8") as lines:
            rejected = tuple(
                json_reader.read(line) for line, _ in zip(lines, range(MOST_TOLD), strict=False)
            )
    if not kept:
        whys = [
            f"{count:,} × {CODES[code][1]}"
            for code, count in report.counts.items()
            if CODES[code][0] == "error" and code not in OF_THE_FILE
        ]
        raise DataError(
            f"no row of this file can be added: {'; '.join(whys)}.",
            where=str(file),
            fix=f"Correct the rows; see {Step.CHECK_FILE}.",
        )
    seen, known = set(), Spellings(config.task)
    for row in read(target, ours.format, ours.columns):
        if row.example is not None:
            seen.add(_key(row.example))
            known.add(row.example.output)
    fresh: dict[int, dict[str, Any]] = {}
    said: dict[int, list[Text]] = {}
    repeated = unfit = 0
    for line, of_record in groupby(kept, key=attrgetter("line")):
        examples = list(of_record)  # some formats hold several in a record
        made = record(examples[0])
        if made is None:
            unfit += 1
            continue
        if ours.columns is not None:
            examples = [_as_read(ours, ours.columns, made)]
        keys = {_key(one) for one in examples}
        if keys <= seen:
            repeated += 1
        else:
            fresh[line] = made
            said[line] = [(one.input, one.output) for one in examples]
            seen |= keys
    if ours.columns is not None and not (fresh or repeated):
        raise UsageError(
            "no conversation of this file fits the columns of the project's rows.",
            where=str(file),
            fix=_bring(ours.columns),
        )
    foreign = [] if _is_own(workspace, target) else _take_unwritable(target, fresh, file)
    spelled = (
        f"Line {line}: {sentence} {SPELLING_FIX}"
        for line in fresh
        for sentence in known.find_others(said[line][-1][1])
    )
    addition = Addition(
        file=config.data.file,
        added=len(fresh),
        repeated=repeated,
        unfit=unfit,
        rejected=report.rejected + len(foreign),
        rejected_rows=(*foreign, *rejected)[:MOST_TOLD],
        spelled_otherwise=tuple(islice(spelled, MOST_TOLD)),
    )
    return addition, [(made, said[line]) for line, made in fresh.items()]


def _is_own(workspace: Workspace, file: Path) -> bool:
    """Whether a file lies in the folder of the project, where only Assay has to read it."""
    return file.resolve().is_relative_to(workspace.root.resolve())


def _take_unwritable(
    target: Path, fresh: dict[int, dict[str, Any]], file: Path
) -> list[dict[str, Any]]:
    """Take the records, by their line, that the encoding of the project's file cannot hold out of
    those to be added; the same as rejected rows."""
    lines = list(fresh)
    rejected = []
    for place, lack in find_unwritable(target, list(fresh.values())).items():
        line = lines[place]
        why = problem(
            "not-in-encoding",
            str(file),
            line,
            f"{target} is written in {lack.encoding}, which has no {lack.character!r}.",
            "Save that file as UTF-8, or leave this character out.",
        )
        rejected.append({"line": line, "problems": [why.to_dict()], "raw": fresh.pop(line)})
    return rejected


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


def _match(
    ours: DetectedFormat, file: Path, system_prompt: str | None
) -> tuple[DetectedFormat, Callable[[Example], dict[str, Any] | None]]:
    """How to read a file, and the record that one of its examples is in the project's file; None of
    a conversation that does not fit a row."""
    theirs, columns = detect(file), ours.columns
    if columns is None:
        if theirs.format == ours.format:
            return theirs, _records_of(file)
        if ours.format == "openai-chat":
            return theirs, conversation
        raise UsageError(
            f"this file is {theirs.format}, and the project's is {ours.format}.",
            where=str(file),
            fix=f"Bring a file in the format {ours.format}.",
        )
    if (fitting := fit_columns(columns, theirs)) is not None:
        return detect(file, fitting), _records_of(file, ours.fields)
    if theirs.format in CONTAINER_FORMATS:
        raise UsageError(
            f"this file lacks columns of the project's rows. It has {join_names(theirs.fields)}.",
            where=str(file),
            fix=_bring(columns),
        )

    def row(example: Example) -> dict[str, Any] | None:
        told = [turn.content for turn in example.messages if turn.role in INSTRUCTING]
        roles = [turn.role for turn in example.messages if turn.role not in INSTRUCTING]
        if roles != ["user", "assistant"] or told not in ([], [system_prompt]):
            return None
        made = record_of(columns, example.input, example.output)
        named = {} if columns.id is None else {columns.id: f"added-{_key(example):016x}"}
        return None if made is None else {**named, **made}

    return theirs, row


def _bring(columns: Columns) -> str:
    return f"Bring a file with the columns {join_names((*columns.input, *columns.output))}."


def _as_read(ours: DetectedFormat, columns: Columns, record: dict[str, Any]) -> Example:
    """What a record says once it stands in the project's file, where a table holds text alone."""
    if ours.delimiter is not None:
        record = {name: text_of(value) for name, value in record.items()}
    example = shape(ours.format, columns).example(record, "", RecordProblems(""))
    assert example is not None  # it has every column of input and output
    return example


def _records_of(
    file: Path, fields: Collection[str] | None = None
) -> Callable[[Example], dict[str, Any]]:
    """Finds the record of an example as it stands in its file; of its fields these, if any are
    named."""
    records = {raw.line: raw.value for raw in inspect_file(file).records()}
    if fields is None:
        return lambda example: records[example.line]
    return lambda example: {
        name: value for name, value in records[example.line].items() if name in fields
    }


def _key(example: Example) -> int:
    """What two examples have in common that say the same."""
    return key64(json_text([example.input, example.output]))
