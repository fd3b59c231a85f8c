"""What can be done with a file of examples, inside a project or without one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from assay.config import CONFIG_FILE, Columns, Config, TaskKind, load_config
from assay.config.names import file_of
from assay.data.checks import CheckReport, check
from assay.data.overlap import OverlapReport, overlap
from assay.data.problems import json_line
from assay.data.read import detect, read
from assay.errors import DataError, UsageError
from assay.example import Example
from assay.progress import SILENT, Progress
from assay.store.files import write_atomic_lines


def check_file(
    file: Path | None,
    *,
    folder: Path,
    format: str | None = None,
    columns: Columns | None = None,
    task: TaskKind | None = None,
    model: str | None = None,
    out: Path | None = None,
    keep: Callable[[Example], None] | None = None,
    progress: Progress = SILENT,
) -> CheckReport:
    """Find every problem of a file; None is the data of the project in `folder`.

    A file that is the project's own is checked by the project's columns, task, labels, schema
    and model.

    Args:
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
        columns = columns or own.data.columns
        format = format or own.data.format
        task = task or own.task
        model = model or own.model
    template, context = None, None
    if model is not None:
        from assay.chat.template import Template

        template, context = Template.load(model)
    return check(
        file,
        format=format,
        columns=columns,
        task=task,
        labels=own.labels if own else None,
        schema=own.output_schema if own else None,
        template=template,
        context_length=context,
        out=out,
        keep=keep,
        progress=progress,
    )


def _is_own(file: Path, folder: Path, config: Config) -> bool:
    names = (config.data.file, config.data.holdout, config.data.validation)
    return any(name and file.resolve() == file_of(name, folder).resolve() for name in names)


def import_file(
    file: Path,
    to: Path,
    *,
    format: str | None = None,
    columns: Columns | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write a file's examples in OpenAI's JSONL; rejected rows go to a file beside it."""
    if to.exists():
        raise UsageError(f"{to} already exists.", fix="Choose another name.")
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
    train: Path, holdout: Path, *, input: str | None = None, progress: Progress = SILENT
) -> OverlapReport:
    """Holdout rows whose twin (by the input) stands in a training file."""
    return overlap(
        _inputs(train, input, progress), _inputs(holdout, input, progress), progress=progress
    )


def _inputs(path: Path, input: str | None, progress: Progress) -> list[tuple[int, str]]:
    """(row number from 1, text) of each usable row."""
    detected = detect(path)
    columns = detected.columns
    if input is not None:
        columns = Columns(input=[input], output=[input])
    numbered = zip(itertools.count(1), read(path, detected.format, columns, progress=progress))
    rows = [(number, row.example.input) for number, row in numbered if row.example is not None]
    if not rows:
        raise DataError("the file has no usable rows.", where=str(path))
    return rows
