"""A project's files read and checked: its examples, and what was noticed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from assay.chat.template import Template
from assay.config import Columns, Config
from assay.config.names import file_of, split_sheet
from assay.data.checks import CheckReport, check
from assay.data.formats.hub import PREFIX
from assay.data.formats.objects import ColumnError, ask_for_columns, list_roles
from assay.data.normal import normalise
from assay.data.partition import merge_liked
from assay.data.problems import OF_THE_FILE, explain_row, name_causes
from assay.data.read import CONTAINER_FORMATS, detect
from assay.errors import DataError, Step
from assay.example import Example, json_sha256
from assay.progress import Progress
from assay.store.files import sha256_file

_LINES_TOLD = 5
"""Rows of a new holdout's file of which is said what is wrong with them."""
_RULES = 2  # raised when the same files would be divided otherwise; part of a split's key


@dataclass(slots=True)
class GatheredExamples:
    """Examples read from the project's files, and what was noticed on the way.

    Attributes:
        pool: rows that are to be divided; all rows that are not holdout, with an official one.
        validation, holdout: of files of their own; None when they are to be taken from the pool.
        is_kept: the holdout is that of the present split, of rows of the project's file.
        recycled: rows of former holdouts that came from files of their own.
        rows, rejected, problems: of all files; pool_rejected, pool_problems: of the project's file;
            holdout_rows, holdout_rejected: of the holdout's own.
    """

    pool: list[Example] = field(default_factory=list)
    validation: list[Example] | None = None
    holdout: list[Example] | None = None
    is_kept: bool = False
    recycled: list[Example] = field(default_factory=list)
    rows: int = 0
    rejected: int = 0
    pool_rejected: int = 0
    pool_problems: Mapping[str, int] = field(default_factory=Counter)
    holdout_rows: int = 0
    holdout_rejected: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    exact: int = 0
    near: int = 0

    def recycle(self, rows: list[Example]) -> None:
        """Put the rows of former holdouts into the pool. Where the pool has a row's input with
        another output, the row is only kept: its label was corrected in the project's file, of
        which none of them is a line."""
        rows = [replace(example, line=0) for example in rows]
        outputs: dict[str, set[str]] = {}
        for example in self.pool:
            outputs.setdefault(normalise(example.input), set()).add(example.output)
        for example in rows:
            given = outputs.get(normalise(example.input))
            if given is None or example.output in given:
                self.pool.append(example)
        self.recycled = rows


@dataclass(frozen=True, slots=True)
class ExampleSource:
    """Where examples come from and what they are held against."""

    config: Config
    root: Path
    template: Template | None
    context_length: int | None
    progress: Progress

    @property
    def file(self) -> Path | str:
        """The project's file of examples."""
        return address_of(self.root, self.config.data.file)

    @property
    def _columns(self) -> Columns | None:
        """By which files without columns of their own are read; None: the format has none."""
        return self.config.data.columns or detect(self.file).columns

    def key(self) -> str:
        """Hash of all that decides a split: files, settings, and what rejects a row."""
        data = self.config.data
        settings = data.model_dump(mode="json")
        if data.columns is not None and data.columns.document is None:
            del settings["columns"]["document"]  # came later; keys of splits stay what they were
        parts = {
            "rules": _RULES,
            "data": settings,
            "files": [fingerprint(address_of(self.root, one)) for one in _list_files(self.config)],
            "task": self.config.task,
            "labels": self.config.labels,
            "schema": self.config.output_schema,
            "template": self.template.sha256 if self.template else None,
            "context_length": self.context_length,
            "system_prompt": self.config.system_prompt if self.template else None,
        }
        return json_sha256(parts)

    def read(
        self, address: Path | str, found: GatheredExamples, *, any_table: bool = False
    ) -> tuple[list[Example], CheckReport]:
        """The usable examples of a file; what was noticed is added to `found`.

        Files without columns of their own are read by those of the project's file.

        Args:
            any_table: where the project's file is a table or plain objects, this one may be another
                kind of them, such as a workbook beside CSV.
        """
        data = self.config.data
        is_table = data.format in CONTAINER_FORMATS
        kept: list[Example] = []
        report = check(
            address,
            format=None if any_table and is_table else data.format,
            columns=self._columns,
            task=self.config.task,
            labels=self.config.labels,
            schema=self.config.output_schema,
            template=self.template,
            context_length=self.context_length,
            system_prompt=self.config.system_prompt,
            keep=lambda example, _: kept.append(example),
            progress=self.progress,
        )
        found.rows += report.rows
        found.rejected += report.rejected
        found.problems.update(report.counts)
        found.exact += report.exact
        found.near += report.near
        return kept, report

    def read_new(
        self, address: Path | str, found: GatheredExamples
    ) -> tuple[list[Example], list[str], list[str]]:
        """The usable examples of a new holdout's file, added to `found` as `read` does; a sentence
        for each cause that leaves fewer of them than the file has rows; and what is wrong with the
        first rows that cannot be used, which holds words of theirs, as far as the report has it."""
        try:
            fresh, report = self.read(address, found, any_table=True)
        except ColumnError as error:  # the project's columns are not to be named otherwise
            columns = self._columns
            assert columns is not None
            fix = ask_for_columns(dict.fromkeys(name for _, name in list_roles(columns)))
            raise ColumnError(error.role, error.what, where=str(address), fix=fix) from None
        told = []
        of = f"of the {report.rows} rows of the new holdout's file"
        if report.rejected:
            told.append(f"{report.rejected} {of} cannot be used: {name_causes(report.counts)}.")
        if self.config.task == "text":
            merged = merge_liked(fresh)
            if repeated := len(fresh) - len(merged):
                verb = "repeats" if repeated == 1 else "repeat"
                told.append(f"{repeated} {of} {verb} the input of another row and count with it.")
            fresh = merged
        wrong: dict[int, list[tuple[str, str]]] = {}
        for one in report.problems:
            if one.severity == "error" and one.code not in OF_THE_FILE:
                wrong.setdefault(one.line, []).append((one.message, one.fix))
        lines = [f"Line {line}: {explain_row(whys)}" for line, whys in wrong.items()]
        return fresh, told, lines[:_LINES_TOLD]

    def gather(self, *, holdout: bool) -> GatheredExamples:
        """Read the project's files; the holdout's file only when it is asked for."""
        data, found = self.config.data, GatheredExamples()
        found.pool, report = self.read(self.file, found)
        found.pool_rejected, found.pool_problems = report.rejected, report.counts
        if data.validation:
            found.validation, _ = self.read(address_of(self.root, data.validation), found)
        if data.holdout and holdout:
            found.holdout, report = self.read(address_of(self.root, data.holdout), found)
            found.holdout_rows, found.holdout_rejected = report.rows, report.rejected
        return found


def address_of(root: Path, name: str) -> Path | str:
    """A name in assay.yaml as `read` takes it."""
    return name if name.startswith(PREFIX) else file_of(name, root)


def has_files(config: Config, root: Path) -> bool:
    """Whether the files of a project's examples are on this machine."""
    addresses = (address_of(root, name) for name in _list_files(config))
    return all(isinstance(one, str) or split_sheet(one)[0].is_file() for one in addresses)


def _list_files(config: Config) -> list[str]:
    """The names in assay.yaml of all files of examples, the project's own first."""
    data = config.data
    return [name for name in (data.file, data.validation, data.holdout) if name]


def fingerprint(address: Path | str) -> str:
    """Sha256 of a file (of the workbook, for `FILE#Sheet`); a hub address stands for itself."""
    if isinstance(address, str):
        return address
    file, _ = split_sheet(address)
    if not file.is_file():
        raise DataError(
            "there is no such file.",
            where=str(file),
            fix=f"{Step.CORRECT_FILE}.",
        )
    return sha256_file(file)
