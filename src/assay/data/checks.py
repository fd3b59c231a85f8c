"""Every problem of a file of examples, found in one pass of bounded memory.

Rows are read and judged one by one; what compares rows with one another (duplicates,
contradictions) works on hashes and an index on disk, so that the size of a file does not matter.
"""

from __future__ import annotations

import heapq
import re
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

import numpy as np

from assay import json_reader
from assay.chat.template import Template
from assay.config import Columns, TaskKind
from assay.data.contents import Rules
from assay.data.duplicates import DuplicateIndex, Groups
from assay.data.formats import openai_turns
from assay.data.label_checks import find_label_problems
from assay.data.normal import key64, normalise
from assay.data.problems import CODES, Problem, json_line, problem
from assay.data.propose import guess_task
from assay.data.read import Row, detect, read
from assay.data.row_judge import RowJudge
from assay.data.spelling import SPELLING_FIX, Spellings
from assay.data.statistics import Statistics, count_labels
from assay.example import Example
from assay.progress import SILENT, Progress
from assay.quantities import say_count
from assay.store.files import write_atomic_lines

PROBLEMS_SHOWN = 1000
PROBLEMS_FILE = "problems.jsonl"
REJECTED_FILE = "rejected.jsonl"
FEW_ROWS = 50
NEAR_BUDGET = 2_000_000_000
"""Candidate pairs looked at before the search for near-duplicates is cut short (and says so)."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found in a file.

    Attributes:
        file: as the user named it.
        format: name of the format.
        task: kind of task that the rows were checked for; None: for none.
        columns: that were read as input and output, named or guessed; None where the format itself
            says what is what.
        records: of the file; some formats make several rows of one.
        rows, valid, rejected: rows read; those that can be used; those with an error.
        problems: the first `PROBLEMS_SHOWN`, in the order of the file.
        counts: how often each code was found, in all.
        exact: rows whose input and output stood in an earlier row.
        near: rows whose input is near to that of an earlier row, and equal to none.
        statistics: of the valid rows.
        problems_file, rejected_file: where all of them are; None when no folder was given.
    """

    file: str
    format: str
    columns: Columns | None
    records: int
    rows: int
    valid: int
    rejected: int
    problems: tuple[Problem, ...]
    counts: dict[str, int]
    exact: int
    near: int
    statistics: Statistics
    task: TaskKind | None = None
    problems_file: Path | None = None
    rejected_file: Path | None = None

    @property
    def has_errors(self) -> bool:
        """True when a row was rejected or the file as a whole cannot be used."""
        return any(CODES[code][0] == "error" for code in self.counts)

    def to_dict(self) -> dict[str, Any]:
        """What `assay data check --json` prints."""
        return {
            "file": self.file,
            "format": self.format,
            "task": self.task,
            "columns": None if self.columns is None else self.columns.model_dump(exclude_none=True),
            "records": self.records,
            "rows": self.rows,
            "valid": self.valid,
            "rejected": self.rejected,
            "problems": [one.to_dict() for one in self.problems],
            "counts": self.counts,
            "duplicates": {"exact": self.exact, "near": self.near},
            "tokens": self.statistics.token_counts(),
            "statistics": self.statistics.to_dict(),
            "problems_file": str(self.problems_file) if self.problems_file else None,
            "rejected_file": str(self.rejected_file) if self.rejected_file else None,
        }


def check(
    path: Path | str,
    *,
    format: str | None = None,
    columns: Columns | None = None,
    task: TaskKind | None = None,
    guess_task: bool = False,
    labels: list[str] | None = None,
    schema: dict[str, Any] | None = None,
    template: Template | None = None,
    context_length: int | None = None,
    system_prompt: str | None = None,
    out: Path | None = None,
    keep: Callable[[Example, int], None] | None = None,
    progress: Progress = SILENT,
) -> CheckReport:
    """Read a file and find every problem in it.

    Args:
        path: a file, `FILE#Sheet` or `hf:org/name:split`.
        format, columns: found by content when None.
        task, labels, schema: of the project; what is None is not checked.
        guess_task: where no task is given, few different short outputs are checked as labels.
        template: counts tokens; None leaves them unknown.
        context_length: longer examples are rejected.
        system_prompt: counted with examples that bring none of their own.
        out: folder for `problems.jsonl` and `rejected.jsonl` (all of them, one JSON a line).
        keep: is given every valid example and the number of its record, in order.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    detected = detect(path, columns)
    used = columns or detected.columns
    rules = Rules(task, labels, schema, template, context_length, system_prompt, used)
    rows = read(path, format, columns, progress=progress)
    with tempfile.TemporaryDirectory(prefix="assay-check-") as name:
        scratch = Path(name)
        is_cut = (format or detected.format) == openai_turns.NAME
        with _Pass(str(path), rules, scratch, guess_task, is_cut) as state:
            for row in rows:
                example = state.take(row)
                if example is not None and keep is not None:
                    keep(example, row.record)
            groups = state.index.groups(budget=NEAR_BUDGET, progress=progress)
            shown: list[Problem] = []
            lines = _tallied(state.all_problems(groups), state.counts, shown)
            _write(out, PROBLEMS_FILE, lines)
            _write(out, REJECTED_FILE, state.rejected_lines())
    return CheckReport(
        file=str(path),
        format=format or detected.format,
        columns=used,
        records=state.records,
        rows=state.rows,
        valid=state.valid,
        rejected=state.rows - state.valid,
        problems=tuple(shown),
        counts=dict(sorted(state.counts.items())),
        exact=state.counts["duplicate"],
        near=state.counts["near-duplicate"],
        statistics=state.statistics,
        task=state.task,
        problems_file=out / PROBLEMS_FILE if out else None,
        rejected_file=out / REJECTED_FILE if out else None,
    )


def _tallied(
    problems: Iterable[Problem], counts: Counter[str], shown: list[Problem]
) -> Iterator[str]:
    for one in problems:
        counts[one.code] += 1
        if len(shown) < PROBLEMS_SHOWN:
            shown.append(one)
        yield json_line(one.to_dict())


def _write(out: Path | None, name: str, lines: Iterable[str]) -> None:
    if out is not None:
        write_atomic_lines(out / name, lines)
        return
    for _ in lines:  # they are counted as they go by
        pass


class _Pass:
    """What is remembered of the rows gone by: about 100 bytes each, the rest on disk.

    Args:
        is_cut: the rows of a record are the turns of one dialogue.
    """

    def __init__(
        self, file: str, rules: Rules, scratch: Path, guess_task: bool, is_cut: bool
    ) -> None:
        self.file, self.rules, self._guess_task = file, rules, guess_task
        self.records = self.rows = self.valid = 0
        self.counts: Counter[str] = Counter()
        self.statistics = Statistics()
        self.index = DuplicateIndex(scratch)
        self._spellings = Spellings(rules.task or ("label" if guess_task else None))
        self._judge = RowJudge(file, rules)
        self._record, self._is_cut, self._told = 0, is_cut, set[Problem]()
        self._records = array("Q")
        self._lines = array("Q")
        self._outputs = array("Q")
        self._problems = (scratch / PROBLEMS_FILE).open("w+", encoding="utf-8")
        self._rejected = (scratch / REJECTED_FILE).open("w+", encoding="utf-8")

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, *_: object) -> None:
        self.index.__exit__(None, None, None)
        self._problems.close()
        self._rejected.close()

    def take(self, row: Row) -> Example | None:
        """Judge one row; the example when it can be used."""
        self.rows += 1
        is_next = row.record != self._record
        self.records += is_next
        if is_next or not self._is_cut:
            self._told.clear()
        self._record = row.record
        example, problems, tokens = self._judge.judge(row)
        for one in problems:
            # The turns of a dialogue stand in all of its later rows.
            if one not in self._told or one.severity == "error":
                self._told.add(one)
                self._problems.write(json_line(one.to_dict()))
        if example is None:
            self._reject(row, problems)
            return None
        self.valid += 1
        self.statistics.add(example, tokens)
        self._spellings.add(example.output, row.line)
        self.index.add(normalise(example.input))
        self._lines.append(row.line)
        self._records.append(row.record)
        self._outputs.append(key64(example.output.strip()))
        return example

    @cached_property
    def task(self) -> TaskKind | None:
        """The kind of task, as given or as all the rows look."""
        if self.rules.task is None and self._guess_task and self.statistics.outputs:
            return "label" if guess_task(self.statistics.outputs)[0] == "label" else None
        return self.rules.task

    def _reject(self, row: Row, problems: list[Problem]) -> None:
        record = {
            "line": row.line,
            "raw": row.raw,
            "problems": [one.to_dict() for one in problems],
        }
        self._rejected.write(json_line(record))

    def rejected_lines(self) -> Iterator[str]:
        """The lines of `rejected.jsonl`."""
        self._rejected.seek(0)
        yield from self._rejected

    def all_problems(self, groups: Groups) -> Iterator[Problem]:
        """All problems in the order of the file, those of the file itself first."""
        yield from self._of_the_file(groups)
        yield from heapq.merge(
            _parsed(self._problems),
            self._between_rows(groups),
            self._odd_spellings(),
            key=attrgetter("line"),
        )

    def _odd_spellings(self) -> Iterator[Problem]:
        if self.task is None:
            return
        for line, message in self._spellings.odd_rows():
            yield problem("other-spelling", self.file, line, message, SPELLING_FIX)

    def _between_rows(self, groups: Groups) -> Iterator[Problem]:
        """Duplicates and contradictions, each row against the first of its kind; and the rows
        whose label no other has."""
        lone = self._lone_labels()
        several = self.task == "text"
        said: dict[int, set[int]] = {}
        repeated = set(groups.first[groups.first != np.arange(len(groups.first))].tolist())
        for row in range(len(self._lines)):
            first, cluster = int(groups.first[row]), int(groups.cluster[row])
            outputs = said.setdefault(first, set()) if first in repeated else set()
            like = first if first != row else cluster
            # A turn of a dialogue goes on from the turns before it, and need not say more.
            goes_on = self._is_cut and self._records[like] == self._records[row]
            if like != row and not goes_on:
                code = "near-duplicate"
                if first != row:
                    code = "several-outputs" if several else "contradiction"
                    code = "duplicate" if self._outputs[row] in outputs else code
                yield self._as_earlier(code, row, like)
            outputs.add(self._outputs[row])
            if self._outputs[row] in lone:
                message = "no other row has this label."
                yield problem("lone-label", self.file, self._lines[row], message, _LONE_FIX)

    def _lone_labels(self) -> set[int]:
        """Hashes of the labels of a label task that one row has, without spaces around them."""
        outputs = self.statistics.outputs if self.task == "label" else None
        counts = count_labels(outputs or {})
        return {key64(label) for label, count in counts.items() if count == 1}

    def _as_earlier(self, code: str, row: int, earlier: int) -> Problem:
        message, fix = _BETWEEN[code]
        line, other = self._lines[row], self._lines[earlier]
        return problem(code, self.file, line, message.format(line=other), fix)

    def _of_the_file(self, groups: Groups) -> Iterator[Problem]:
        for code, message, fix in self._findings(groups):
            yield problem(code, self.file, 1, message, fix)

    def _findings(self, groups: Groups) -> Iterator[tuple[str, str, str]]:
        if self.valid == 0:
            yield (
                "no-rows",
                "the only row cannot be used."
                if self.rows == 1
                else f"none of the {self.rows} rows can be used.",
                "Fix the problems listed for the rows.",
            )
        elif self.valid < FEW_ROWS:
            yield (
                "few-rows",
                f"{say_count(self.valid, 'usable row')}: with so few, only large differences can "
                "be detected.",
                "Collect more: a few hundred are enough for a verdict, a thousand for a good one.",
            )
        if not groups.complete:
            yield (
                "near-search-limited",
                "too many rows share one template to compare all of them for near-duplicates.",
                "No action needed: all exact duplicates were found.",
            )
        if self.task == "label" and self.valid and self.statistics.outputs is not None:
            yield from find_label_problems(self.statistics.outputs)


_LONE_FIX = (
    "Give the row the label of others, add a row with its label, or remove it: a comparison cannot "
    "start while a label has one row, unless the holdout is a file of its own or was opened before."
)
_BETWEEN = {
    "duplicate": (
        "input and output are the same as in line {line}.",
        "Remove one: a repeated row counts twice in training.",
    ),
    "contradiction": (
        "the input is the same as in line {line}, but the output is different.",
        "Keep the row with the correct output and remove the other.",
    ),
    "several-outputs": (
        "the input is the same as in line {line}, with a different output.",
        "No action needed if both are correct: an answer that matches either one counts.",
    ),
    "near-duplicate": (
        "the input is almost the same as in line {line}.",
        "No action needed: near-duplicates are kept in the same part of the split.",
    ),
}


def earlier_line(code: str, message: str) -> int | None:
    """The line that a row is like, out of a problem between rows; None for every other problem."""
    found = re.search(r"line (\d+)", message) if code in _BETWEEN else None
    return int(found[1]) if found else None


def _parsed(file: IO[str]) -> Iterator[Problem]:
    file.seek(0)
    for line in file:
        yield Problem(**json_reader.read(line))
