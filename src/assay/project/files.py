"""What can be done with a file of examples, inside a project or without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from assay.config import CONFIG_FILE, Columns, Config, TaskKind, load_config
from assay.config.names import file_of
from assay.data.checks import CheckReport, check
from assay.data.number_columns import with_numbers
from assay.data.overlap import OverlapReport, overlap
from assay.data.problems import json_line
from assay.data.propose import guess_task as guess_task_of
from assay.data.read import CONTAINER_FORMATS, DetectedFormat, detect, read
from assay.data.verbatim import answers_in_rows, pairs_in_documents
from assay.errors import DataError, UsageError
from assay.example import Example
from assay.knowledge.parse import Parser, UnreadableError, load
from assay.knowledge.sources import sources
from assay.progress import SILENT, Progress
from assay.store.files import write_atomic_lines

LOOKED_AT = 1000
"""First rows of a file, by which it holds records or not."""


def check_file(
    file: Path | None,
    *,
    folder: Path,
    format: str | None = None,
    columns: Columns | None = None,
    find_numbers: bool = False,
    task: TaskKind | None = None,
    guess_task: bool = False,
    model: str | None = None,
    out: Path | None = None,
    keep: Callable[[Example, int], None] | None = None,
    progress: Progress = SILENT,
) -> CheckReport:
    """Find every problem of a file; None is the data of the project in `folder`.

    A file that is the project's own is checked by the project's columns, task, labels, schema
    and model.

    Args:
        find_numbers: of `columns` those that hold numbers are found out, as `assay init` does; of
            the project's own file they are taken from its settings.
        guess_task: where no task is given, outputs that look like labels, or like records in the
            first rows, are checked as such.
        out, keep: see `assay.data.checks.check`.

    Raises:
        UsageError: no file was named and there is no project.
        DataError: the file as a whole cannot be read.
    """
    config = load_config(folder / CONFIG_FILE) if (folder / CONFIG_FILE).exists() else None
    if file is None:
        if config is None:
            raise UsageError("no file was given, and there is no project here.")
        file = file_of(config.data.file, folder)
    own = config if config is not None and _is_own(file, folder, config) else None
    if own is not None:
        if columns is not None and find_numbers:
            known = own.data.columns.numbers if own.data.columns and len(columns.output) > 1 else []
            numbers = [name for name in columns.output if name in known]
            columns = columns.model_copy(update={"numbers": numbers})
        columns = columns or own.data.columns
        format = format or own.data.format
        task = task or own.task
        model = model or own.model
    elif columns is not None and find_numbers:
        columns = with_numbers(columns, file)
    template, context = None, None
    if model is not None:
        from assay.chat.template import Template

        template, context = Template.load(model)
    if guess_task and task is None and _holds_records(file, format, columns):
        task = "json"  # of which each row is judged, so that it is known before the first
    return check(
        file,
        format=format,
        columns=columns,
        task=task,
        guess_task=guess_task,
        labels=own.labels if own else None,
        schema=own.output_schema if own else None,
        template=template,
        context_length=context,
        out=out,
        keep=keep,
        progress=progress,
    )


def _holds_records(file: Path, format: str | None, columns: Columns | None) -> bool:
    rows = islice(read(file, format, columns), LOOKED_AT)
    first = [row.example for row in rows if row.example is not None and row.example.output.strip()]
    if not first or any(example.target.tool_calls for example in first):
        return False
    return guess_task_of(Counter(example.output for example in first))[0] == "json"


def _is_own(file: Path, folder: Path, config: Config) -> bool:
    names = (config.data.file, config.data.holdout, config.data.validation)
    return any(name and file.resolve() == file_of(name, folder).resolve() for name in names)


def import_file(
    file: Path,
    to: Path,
    *,
    format: str | None = None,
    columns: Columns | None = None,
    find_numbers: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write a file's examples in OpenAI's JSONL; rejected rows go to a file beside it.

    Args:
        find_numbers: as of `check_file`.
    """
    if to.exists():
        raise UsageError(f"{to} already exists.", fix="Choose another name.")
    if columns is not None and find_numbers:
        columns = with_numbers(columns, file)
    detected = detect(file, columns)
    name = format or detected.format
    rejected: list[dict[str, Any]] = []

    def lines() -> Iterator[str]:
        for row in read(file, name, columns or detected.columns, progress=progress):
            if row.example is None:
                problems = [problem.to_dict() for problem in row.problems]
                rejected.append({"line": row.line, "raw": row.raw, "problems": problems})
            else:
                yield json_line(conversation(row.example))

    written = write_atomic_lines(to, lines())
    beside = to.with_suffix(".rejected.jsonl")
    if rejected:
        write_atomic_lines(beside, map(json_line, rejected))
    return {
        "format": name,
        "written": written,
        "rejected": len(rejected),
        "rejected_file": str(beside) if rejected else None,
    }


def find_columns(columns: Columns | None, file: Path) -> Columns | None:
    """The project's columns as a file of no known format has them; None: it lacks some, or the
    project has none.

    Raises:
        DataError: it cannot be read.
    """
    if columns is None:
        return None
    found = detect(file)
    return fit_columns(columns, found) if found.format in CONTAINER_FORMATS else None


def fit_columns(columns: Columns, found: DetectedFormat) -> Columns | None:
    """The columns without those that a file can lack and does; None: it lacks input or output."""
    if not {*columns.input, *columns.output} <= set(found.fields):
        return None
    present = {
        name: at if at in found.fields else None
        for name, at in columns.model_dump(include={"id", "group", "document"}).items()
    }
    return columns.model_copy(update=present)


def conversation(example: Example) -> dict[str, Any]:
    """The example in OpenAI's format: chat, preference when there is an answer that lost, and
    chat with a `label` for a thumb. Id, group and line have no place there."""
    raw = example.to_dict()
    if example.rejected:
        asked = {"messages": raw["messages"][:-1], "tools": raw.get("tools", [])}
        return {
            "input": asked,
            "preferred_output": raw["messages"][-1:],
            "non_preferred_output": raw["rejected"],
        }
    names = ("messages", "tools", "weight")
    kept: dict[str, Any] = {name: raw[name] for name in names if name in raw}
    return kept if example.desirable is None else {**kept, "label": example.desirable}


def overlap_files(
    train: Path,
    holdout: Path,
    *,
    input: str | None = None,
    output: str | None = None,
    columns: Columns | None = None,
    knowledge: Sequence[Path] = (),
    texts: Iterable[str] | None = None,
    progress: Progress = SILENT,
) -> OverlapReport:
    """Holdout rows whose twin (by the input) stands in a training file, and those whose answer
    stands word for word in training rows or documents.

    Args:
        input, output: columns; None: as they are found. With an input alone answers are not
            compared.
        columns: of the project, for a file that has them where none are named.
        knowledge: documents, or folders of them.
        texts: of documents that are read already, in place of `knowledge`; None: there are none.

    Raises:
        UsageError: documents without answers to look for.
        DataError: no usable rows, or a document that cannot be read.
    """
    named = None
    if input is not None:  # of no output nothing is read
        named = Columns.model_construct(input=[input], output=[output] if output else [])
    chosen = [named or find_columns(columns, path) for path in (train, holdout)]
    with_answers = input is None or output is not None
    if output is not None and input is None:
        raise UsageError("the output is named without the input.", fix="Name both columns.")
    if knowledge and not with_answers:
        raise UsageError(
            "documents are searched for answers, and no column of answers is named.",
            fix="Name the output's column, too.",
        )
    first, second = (
        _examples(path, columns, progress)
        for path, columns in zip((train, holdout), chosen, strict=True)
    )
    report = overlap(_inputs(first), _inputs(second), progress=progress)
    if not with_answers:
        return report
    answers = answers_in_rows([e.output for _, e in second], [e.output for _, e in first])
    documents = None
    if knowledge or texts is not None:
        pairs = [(example.input, example.output) for _, example in second]
        texts = _texts(knowledge, progress) if texts is None else texts
        documents = pairs_in_documents(pairs, texts)
    return replace(report, answers=answers, documents=documents)


def _examples(path: Path, columns: Columns | None, progress: Progress) -> list[tuple[int, Example]]:
    """(row number from 1, example) of each usable row."""
    detected = detect(path)
    rows = read(path, detected.format, columns or detected.columns, progress=progress)
    found = [(n, row.example) for n, row in enumerate(rows, 1) if row.example is not None]
    if not found:
        raise DataError("the file has no usable rows.", where=str(path))
    return found


def _inputs(rows: Sequence[tuple[int, Example]]) -> list[tuple[int, str]]:
    return [(number, example.input) for number, example in rows]


def _texts(paths: Sequence[Path], progress: Progress) -> Iterator[str]:
    """The text of each document, as a knowledge base reads it.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    found, failed = sources(paths)
    if failed:
        raise DataError(failed[0].reason, where=failed[0].file)
    if not found:
        raise DataError("there are no documents.", where=", ".join(map(str, paths)))
    with Parser() as parser, progress.task("reading", len(found), "documents") as task:
        for one in found:
            try:
                data = load(one.document, one.file, parser.limits)
                yield "\n".join(page.text for page in parser.parse(one.document, data).pages)
            except UnreadableError as error:
                raise DataError(str(error), where=str(one.file)) from None
            task.advance()
