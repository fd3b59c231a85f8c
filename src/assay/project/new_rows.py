"""Rows of another file that a project's file of examples does not have yet.

    addition, rows = find_new_rows(
        workspace, Path("more.csv"), mask=False, may_convert=True, progress=SILENT
    )
    append(target, [row.record for row in rows])

Nothing is changed here; `row_edits` writes them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.config import Columns, Config, join_names
from assay.data.checks import REJECTED_FILE, check
from assay.data.contents import Rules
from assay.data.formats import openai_chat, openai_turns
from assay.data.formats.objects import ask_for_columns, record_of
from assay.data.formats.record import json_text, text_of
from assay.data.inspection import inspect_file
from assay.data.normal import key64, normalise
from assay.data.problems import explain_row, name_causes, problem
from assay.data.read import CONTAINER_FORMATS, DetectedFormat, detect, read
from assay.data.record_mask import RecordMask, read_record
from assay.data.rewrite import find_unwritable
from assay.data.spelling import SPELLING_FIX, Spellings
from assay.errors import DataError, UsageError
from assay.example import Example
from assay.progress import Progress
from assay.project.addition import MOST_TOLD, Addition, Text
from assay.project.files import conversation, fit_columns
from assay.project.rows import data_file
from assay.project.workspace import Workspace, project_of

INSTRUCTING = ("system", "developer")
"""Roles of turns that a row of a table does not hold."""
_LINES_TOLD = 3
"""Of a file of which no row can be added."""


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row that is to be added.

    Attributes:
        line: in the file that brings it.
        record: as it will stand in the project's file.
        texts: input and output of its examples, of which some formats hold several.
        is_private: secrets or personal data stand in it.
        is_masked: some stood in it.
        contradicts: another row has its input with another output, and one at most is right.
    """

    line: int
    record: dict[str, Any]
    texts: list[Text]
    is_private: bool
    is_masked: bool
    contradicts: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row of the file as it is, and with secrets and personal data masked.

    Attributes:
        masked_examples: empty where they are the same.
    """

    line: int
    record: dict[str, Any]
    examples: list[Example]
    masked: dict[str, Any]
    masked_examples: list[Example]


class _Texts:
    """What rows say.

    Args:
        inputs: keys of those whose outputs are remembered.
    """

    def __init__(self, inputs: Iterable[int]) -> None:
        self._keys: set[int] = set()
        self._outputs: dict[int, int | None] = dict.fromkeys(inputs)

    def add(self, example: Example) -> None:
        self._keys.add(_key(example))
        asked = _input_key(example)
        if asked in self._outputs and self._outputs[asked] is None:
            self._outputs[asked] = _output_key(example)

    def hold(self, examples: Sequence[Example]) -> bool:
        """Whether each is there, with input and output; not of none."""
        return bool(examples) and all(_key(one) in self._keys for one in examples)

    def contradict(self, example: Example) -> bool:
        """Whether its input is there with another output."""
        return self._outputs[_input_key(example)] not in (None, _output_key(example))


def find_new_rows(
    workspace: Workspace, file: Path, *, mask: bool, may_convert: bool, progress: Progress
) -> tuple[Addition, list[NewRow]]:
    """What becomes of the rows of a file that are to be added, and those that are new.

    Args:
        mask: secrets and personal data in new rows are replaced by their kind.
        may_convert: the project's file may become UTF-8; else rows with a character that its
            encoding lacks are left out.

    Raises:
        DataError: no row of the file can be used, or it cannot be read.
        UsageError: its rows do not fit the project's file.
    """
    config, target = project_of(workspace).config, data_file(workspace)
    ours = detect(target, config.data.columns)
    ours = replace(ours, format=config.data.format or ours.format)
    there = read(target, ours.format, ours.columns)
    theirs, records_of = _match(ours, file, config.system_prompt)
    kept, rejected_count, rejected = _check(file, theirs, config, progress)
    hide = RecordMask(ours, Rules(config.task, config.labels, config.output_schema))
    candidates: list[_Candidate] = []
    unfit = repeated = 0
    for number, of_record in groupby(kept, key=itemgetter(0)):
        examples = [example for _, example in of_record]
        for made in records_of(number, examples):
            line = examples[0].line
            candidate = None if made is None else _candidate(ours, hide, line, made)
            if candidate is None or not candidate.examples:
                unfit += 1
            else:
                candidates.append(candidate)
    if ours.columns is not None and not candidates:
        raise UsageError(
            "no conversation of this file fits the columns of the project's rows.",
            where=str(file),
            fix=_ask_for(ours.columns),
        )
    asked = (_input_key(one) for row in candidates for one in (*row.examples, *row.masked_examples))
    texts, spellings = _Texts(asked), Spellings(config.task)
    for read_row in there:
        if read_row.example is not None:
            texts.add(read_row.example)
            spellings.add(read_row.example.output)
    several = config.task == "text"
    fresh: list[NewRow] = []
    for one in candidates:
        # Who has masked a row on Start has its twin as it was in the file that was brought.
        if texts.hold(one.examples) or texts.hold(one.masked_examples):
            repeated += 1
            continue
        says = one.masked_examples if mask and one.masked_examples else one.examples
        row = NewRow(
            line=one.line,
            record=one.masked if mask else one.record,
            texts=[(example.input, example.output) for example in says],
            is_private=one.masked != one.record and not mask,
            is_masked=mask and one.masked != one.record,
            contradicts=not several
            and any(map(texts.contradict, (*one.examples, *one.masked_examples))),
        )
        fresh.append(row)
        for example in says:
            texts.add(example)
    foreign: list[dict[str, Any]] = []
    if not may_convert:
        fresh, foreign = _without_unwritable(target, fresh, file)
    spelled = (
        f"Line {row.line}: {sentence} {SPELLING_FIX}"
        for row in fresh
        for sentence in spellings.find_others(row.texts[-1][1])
    )
    addition = Addition(
        file=config.data.file,
        added=len(fresh),
        repeated=repeated,
        unfit=unfit,
        rejected=rejected_count + len(foreign),
        rejected_rows=(*foreign, *rejected)[:MOST_TOLD],
        private=sum(row.is_private for row in fresh),
        masked=sum(row.is_masked for row in fresh),
        contradicting=sum(row.contradicts for row in fresh),
        spelled_otherwise=tuple(islice(spelled, MOST_TOLD)),
    )
    return addition, fresh


def _check(
    file: Path, theirs: DetectedFormat, config: Config, progress: Progress
) -> tuple[list[tuple[int, Example]], int, list[dict[str, Any]]]:
    """The examples of a file that can be used, each after the number of its record; how many rows
    cannot, and the first of those."""
    kept: list[tuple[int, Example]] = []
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
            keep=lambda example, record: kept.append((record, example)),
            progress=progress,
        )
        with (Path(name) / REJECTED_FILE).open(encoding="utf-8") as lines:
            rejected = [json_reader.read(line) for line in islice(lines, MOST_TOLD)]
    if not kept:
        told = [
            f"Line {row['line']}: "
            + explain_row(
                (one["message"], one["fix"])
                for one in row["problems"]
                if one["severity"] == "error"
            )
            for row in rejected[:_LINES_TOLD]
        ]
        raise DataError(
            f"no row of this file can be added: {name_causes(report.counts)}.",
            where=str(file),
            fix=" ".join(told) or None,
        )
    return kept, report.rejected, rejected


def _candidate(
    ours: DetectedFormat, mask: RecordMask, line: int, record: dict[str, Any]
) -> _Candidate:
    if ours.delimiter is not None:  # a table holds text alone
        record = {name: text_of(value) for name, value in record.items()}
    examples, masked = read_record(ours, record), mask(record)
    hidden = examples if masked == record else read_record(ours, masked)
    return _Candidate(line, record, examples, masked, hidden if hidden != examples else [])


def _without_unwritable(
    target: Path, fresh: list[NewRow], file: Path
) -> tuple[list[NewRow], list[dict[str, Any]]]:
    """The rows that the encoding of the project's file can hold, and others as rejected ones."""
    lacks = find_unwritable(target, [row.record for row in fresh])
    rejected = []
    for place, lack in lacks.items():
        row = fresh[place]
        why = problem(
            "not-in-encoding",
            str(file),
            row.line,
            f"{target} is written in {lack.encoding}, which has no {lack.character!r}.",
            "Save that file as UTF-8, or leave this character out.",
        )
        rejected.append({"line": row.line, "problems": [why.to_dict()], "raw": row.record})
    return [row for place, row in enumerate(fresh) if place not in lacks], rejected


_RecordsOf = Callable[[int, list[Example]], list[dict[str, Any] | None]]
"""From a record of another file (its number, its examples) to the records that stand for it in the
project's file; None for a conversation that fits no row."""


def _match(
    ours: DetectedFormat, file: Path, system_prompt: str | None
) -> tuple[DetectedFormat, _RecordsOf]:
    """How to read a file, and what its rows are in the project's."""
    theirs, columns = detect(file), ours.columns
    if columns is None:
        if theirs.format == openai_chat.SHAPE.name and ours.format == openai_turns.NAME:
            theirs = replace(theirs, format=ours.format)
        if theirs.format == ours.format:
            return theirs, _records_of(file)
        if ours.format in (openai_chat.SHAPE.name, openai_turns.NAME):
            return theirs, lambda _, examples: [conversation(one) for one in examples]
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
            fix=_ask_for(columns),
        )

    def row(example: Example) -> dict[str, Any] | None:
        told = [turn.content for turn in example.messages if turn.role in INSTRUCTING]
        roles = [turn.role for turn in example.messages if turn.role not in INSTRUCTING]
        if roles != ["user", "assistant"] or told not in ([], [system_prompt]):
            return None
        made = record_of(columns, example.input, example.output)
        named = {} if columns.id is None else {columns.id: f"added-{_key(example):016x}"}
        return None if made is None else {**named, **made}

    return theirs, lambda _, examples: [row(one) for one in examples]


def _ask_for(columns: Columns) -> str:
    return ask_for_columns((*columns.input, *columns.output))


def _records_of(file: Path, fields: Collection[str] | None = None) -> _RecordsOf:
    """Finds the record of examples as it stands in their file; of its fields these, if any are
    named."""
    records = [raw.value for raw in inspect_file(file).records()]
    if fields is None:
        return lambda number, _: [records[number - 1]]
    return lambda number, _: [
        {name: value for name, value in records[number - 1].items() if name in fields}
    ]


def _key(example: Example) -> int:
    """What two examples have in common that say the same."""
    return key64(json_text([example.input, example.output]))


def _input_key(example: Example) -> int:
    return key64(normalise(example.input))


def _output_key(example: Example) -> int:
    return key64(example.output.strip())
