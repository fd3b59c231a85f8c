"""What a changed row of the file of examples would be: not used, or another kind of record."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.config import TaskKind
from assay.data.checks import check
from assay.data.formats.record import json_text
from assay.data.problems import OF_THE_FILE, Problem
from assay.data.read import detect
from assay.data.record_fields import describe_other_kinds
from assay.data.spelling import SPELLING_FIX, TASKS, Spellings
from assay.data.split import has_split, read_manifest, visible_files
from assay.errors import AssayError
from assay.example import read_examples
from assay.project.rows import Rows, data_file
from assay.project.workspace import Workspace, project_of


def find_error(workspace: Workspace, record: dict[str, Any]) -> Problem | None:
    """What would keep a row from being used if it was this record; None: nothing."""
    config, ours = project_of(workspace).config, detect(data_file(workspace))
    columns = config.data.columns or ours.columns
    with tempfile.TemporaryDirectory(prefix="assay-row-") as name:
        file = Path(name) / "row.jsonl"
        file.write_text(json_text(record) + "\n", encoding="utf-8")
        report = check(
            file,
            format=(config.data.format or ours.format) if columns is None else "jsonl-objects",
            columns=columns,
            task=config.task,
            labels=config.labels,
            schema=config.output_schema,
            system_prompt=config.system_prompt,
        )
    errors = (one for one in report.problems if one.severity == "error")
    return next((one for one in errors if one.code not in OF_THE_FILE), None)


def warn_of_other_kinds(workspace: Workspace, found: Rows, line: int) -> str | None:
    """A sentence where fields of a row's output hold another kind of value than in most rows; None:
    they do not, or the task has no records."""
    if project_of(workspace).config.task != "json":
        return None
    records: dict[int, dict[str, Any]] = {}
    for at, text in found.outputs():
        try:
            value = json_reader.read(text)
        except ValueError:
            continue
        if isinstance(value, dict):
            records[at] = value
    mine = records.pop(line, None)
    return None if mine is None else describe_other_kinds(mine, list(records.values()))


def warn_of_spelling(workspace: Workspace, answer: str) -> str | None:
    """A sentence where a corrected answer spells a value otherwise than most rows that may be seen;
    None: it does not, the task has no values, or there are no rows that can be read, which is no
    reason to refuse an answer that has been kept."""
    try:
        known = _known_spellings(workspace)
    except (AssayError, OSError):
        return None
    if known is None:
        return None
    others = known.find_others(answer)
    return f"{' '.join(map(_capital, others))} {SPELLING_FIX}" if others else None


def _known_spellings(workspace: Workspace) -> Spellings | None:
    project = workspace.project
    if project is None or project.config.task not in TASKS or not has_split(project.split_folder):
        return None
    files = read_manifest(project.split_folder).files
    return _spellings(project.config.task, project.split_folder, tuple(files.values()))


@lru_cache(maxsize=1)
def _spellings(task: TaskKind, split: Path, _hashes: tuple[str, ...]) -> Spellings:
    """Of all rows that may be seen; programs may send thousands of corrections, one by one.

    Args:
        _hashes: of the split's files, which are read again when one is another.
    """
    known = Spellings(task)
    for file in visible_files(split):
        for example in read_examples(file):
            known.add(example.output)
    return known


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
