"""Makes a project from a file of examples: looks, proposes, writes a configuration to be read."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from assay.candidates.registry import propose_candidates
from assay.config import (
    CONFIG_FILE,
    STARTER_MODEL,
    Columns,
    Costs,
    TaskKind,
    config_schema,
    labels_in,
)
from assay.config.names import check_project_name
from assay.data.contents import Rules
from assay.data.dataset import LEAST_ROWS
from assay.data.formats import openai_turns
from assay.data.formats.objects import SPREADSHEETS
from assay.data.number_columns import with_numbers
from assay.data.propose import Proposal, propose
from assay.data.read import DetectedFormat, check_answers, detect, read
from assay.data.row_judge import RowJudge
from assay.data.turns import TurnCounts, choose_format, count_turns
from assay.errors import DataError, Step, UsageError
from assay.example import Example
from assay.knowledge.sources import sources
from assay.models.pull import check_available
from assay.progress import SILENT, Progress
from assay.project.knowledge.row_search import DocumentMatches, RowTexts
from assay.project.knowledge.row_search import search as search_texts
from assay.project.start.document_rows import find_abstention, propose_by_documents, read_texts
from assay.project.start.shares import holdout_share, warn_of_size
from assay.project.start.yaml_lines import block, column_lines, cost_lines, flow, grader_lines
from assay.quantities import say_count
from assay.store.files import new_folder, write_json
from assay.train.methods import registry

SAMPLE = 20_000
MONTHLY_REQUESTS = 10_000
SCHEMA_FILE = "assay.schema.json"
MACHINE_HOUR_USD: float = Costs.model_fields["machine_hour_usd"].default
MACHINE_HOURS: float = Costs.model_fields["machine_hours_per_month"].default
KNOWLEDGE = "knowledge"
"""Folder of a project's documents."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user said at `assay init`; None means: propose.

    Attributes:
        docs: a file or folder of documents that candidates look into; copied into the project.
        knowledge: name of a knowledge base that holds such documents already.
        document: the column that names the document which answers a row.
        abstain: the answer of rows that no document answers; "" is none, and None: propose.
        format: of conversations, by which each turn or the last one alone is a row.
    """

    data: Path
    holdout: Path | None = None
    input: list[str] | None = None
    output: list[str] | None = None
    group: str | None = None
    id: str | None = None
    task: TaskKind | None = None
    model: str = STARTER_MODEL
    train_rows: int | None = None
    docs: Path | None = None
    knowledge: str | None = None
    document: str | None = None
    abstain: str | None = None
    format: str | None = None
    monthly_requests: int = MONTHLY_REQUESTS
    machine_hour_usd: float | None = MACHINE_HOUR_USD
    machine_hours_per_month: float = MACHINE_HOURS

    @property
    def documents(self) -> bool:
        """Whether candidates can look into documents."""
        return self.docs is not None or self.knowledge is not None


@dataclass(frozen=True, slots=True)
class Draft:
    """A project that could be written: what was found, what is proposed.

    Attributes:
        detected: with the format by which the examples are read.
        turns: of conversations with calls before their last turn; else None.
    """

    name: str
    choices: Choices
    detected: DetectedFormat
    columns: Columns | None
    proposal: Proposal
    examples: tuple[Example, ...]
    rejected: int
    turns: TurnCounts | None = None


def draft(
    name: str,
    choices: Choices,
    progress: Progress = SILENT,
    *,
    search: Callable[[RowTexts], DocumentMatches] | None = None,
    lines: Mapping[int, int] = MappingProxyType({}),
) -> Draft:
    """Look at the file and propose.

    Args:
        search: of the documents that candidates look into; None: `choices.docs` are read for it.
        lines: by which a warning names rows of a copy, by those in the copy; one that is not there
            is the same.

    Raises:
        DataError: nothing usable is in the file, or columns have to be named.
        ModelError: the model cannot be had; known before the file is read, which may take minutes.
        UsageError: a project cannot have this name.
    """
    check_project_name(name)
    check_available(choices.model)
    if (choices.input is None) != (choices.output is None):
        raise UsageError("--input and --output must be given together.", fix="Give both.")
    columns = _columns(choices)
    detected = detect(choices.data, columns)
    turns = count_turns(choices.data, detected, SAMPLE)
    detected = choose_format(detected, choices.format, turns, str(choices.data))
    columns = columns or _with_choices(detected.columns, choices)
    if columns is not None:
        columns = with_numbers(columns, choices.data, choices.holdout)
    else:
        check_answers(detected, str(choices.data))
    if columns is None and detected.format in TABULAR:
        raise DataError(
            f"input and output columns are not clear. The file has: {', '.join(detected.fields)}.",
            where=str(choices.data),
            fix="Give --input COLUMN and --output COLUMN.",
        )
    rows = itertools.islice(read(choices.data, detected.format, columns, progress=progress), SAMPLE)
    examples: list[Example] = []
    first_problem = None
    rejected = 0
    judge = RowJudge(str(choices.data), Rules(columns=columns or detected.columns))
    for row in rows:
        example, problems, _ = judge.judge(row)
        if example is None:
            rejected += 1
            first_problem = first_problem or next(iter(problems), None)
        else:
            examples.append(replace(example, line=lines.get(example.line, example.line)))
    if not examples:
        why = (
            f" The first problem, line {first_problem.line}: {first_problem.message}"
            if (first_problem)
            else ""
        )
        raise DataError(
            f"the file has no usable examples.{why}",
            where=str(choices.data),
            fix=f"{Step.CHECK_FILE} lists all problems.",
        )
    if len(examples) < LEAST_ROWS:
        raise DataError(
            f"{say_count(len(examples), 'usable example')}; at least {LEAST_ROWS} are needed, and "
            "some hundreds for a verdict.",
            where=str(choices.data),
            fix="Add examples.",
        )
    if len({example.output for example in examples}) == 1:
        raise DataError(
            "all outputs are the same, so there is nothing to learn.",
            where=str(choices.data),
            fix=f"Add rows with other outputs, or {Step.OTHER_COLUMNS}.",
        )
    held = _held_outputs(choices, detected, columns, progress)
    is_table = detected.format in SPREADSHEETS
    of_cells = is_table and columns is not None and len(columns.output) > 1
    proposal = propose(examples, choices.task, held, documents=choices.documents, of_cells=of_cells)
    if turns is not None:
        told = turns.describe(by_turns=detected.format == openai_turns.NAME)
        proposal = replace(proposal, reasons=[told, *proposal.reasons])
    used = columns or detected.columns
    warning = warn_of_size(examples, used.group if used is not None else None)
    is_cut = len(examples) + rejected == SAMPLE
    if choices.holdout is None and warning is not None and not is_cut:
        proposal = replace(proposal, warnings=[*proposal.warnings, warning])
    if proposal.task == "label" and used is not None and used.group in used.output:
        raise DataError(
            f"the group column, {used.group}, is the column of the answers. Rows of one group stay "
            "in one part of the split, so each label would be trained or measured, never both.",
            where=str(choices.data),
            fix="Choose another group column, or none.",
        )
    lists = labels_in(proposal.schema) is not None
    names = propose_candidates(task=proposal.task, documents=bool(choices.documents), lists=lists)
    proposal = replace(proposal, candidates=names)
    if choices.documents:
        if choices.abstain is None:
            choices = replace(choices, abstain=find_abstention(examples))
        if search is None and choices.docs is not None:
            search = partial(search_texts, read_texts(choices.docs, progress))
        if search is not None:
            proposal = propose_by_documents(proposal, examples, choices.abstain, search)
    return Draft(name, choices, detected, columns, proposal, tuple(examples), rejected, turns)


def _held_outputs(
    choices: Choices, detected: DetectedFormat, columns: Columns | None, progress: Progress
) -> list[str]:
    """The outputs of the holdout's own file, as far as they can be read like the examples."""
    if choices.holdout is None:
        return []
    rows = itertools.islice(
        read(choices.holdout, detected.format, columns, progress=progress), SAMPLE
    )
    found = (row.example.output for row in rows if row.example is not None)
    return [output for output in found if output.strip()]


TABULAR = ("csv", "tsv", "parquet", "xlsx", "json-objects", "jsonl-objects")


def _columns(choices: Choices) -> Columns | None:
    if choices.input is None or choices.output is None:
        return None
    return Columns(
        input=choices.input,
        output=choices.output,
        id=choices.id,
        group=choices.group,
        document=choices.document,
    )


def _with_choices(columns: Columns | None, choices: Choices) -> Columns | None:
    """Columns that were found out, with those that were named beside them."""
    named = {"id": choices.id, "group": choices.group, "document": choices.document}
    if columns is None:
        return None
    return columns.model_copy(update={part: name for part, name in named.items() if name})


def write_project(folder: Path, drafted: Draft, *, max_new_tokens: int, max_tokens: int) -> None:
    """Write the project's folder: `assay.yaml`, its schema, the data. All of it, or nothing.

    Raises:
        UsageError: the folder is there already.
    """
    if folder.exists():
        raise UsageError(
            f"{folder} already exists.",
            fix="Choose another name.",
        )
    choices = drafted.choices
    text = yaml_text(drafted, max_new_tokens=max_new_tokens, max_tokens=max_tokens)
    with project_folder(folder, text, choices.docs) as made:
        shutil.copyfile(choices.data, made / "data" / choices.data.name)
        if choices.holdout is not None:
            target = made / "data" / choices.holdout.name
            if target.exists():
                target = target.with_name(f"holdout-{choices.holdout.name}")
            shutil.copyfile(choices.holdout, target)


@contextmanager
def project_folder(folder: Path, text: str, docs: Path | None) -> Iterator[Path]:
    """A project's folder to put files into, which appears whole when the block ends.

    Args:
        text: of assay.yaml.
        docs: a file, or a folder of which all files are copied, hidden ones left out.

    Raises:
        DataError: there are no documents in `docs`.
    """
    with new_folder(folder) as made:
        if docs is not None:
            _copy_documents(docs, made / KNOWLEDGE)
        (made / "data").mkdir()
        (made / CONFIG_FILE).write_text(text, encoding="utf-8")
        (made / ".gitignore").write_text(".assay/\n", encoding="utf-8")
        write_json(made / SCHEMA_FILE, config_schema())
        yield made


def _copy_documents(docs: Path, to: Path) -> None:
    found, _ = sources([docs])
    root = docs if docs.is_dir() else docs.parent
    for source in found:
        target = to / source.file.relative_to(root.absolute())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.file, target)
    if not found:
        raise DataError(
            "there are no documents to read.",
            where=str(docs),
            fix="Give a file or a folder with documents.",
        )


def yaml_text(drafted: Draft, *, max_new_tokens: int, max_tokens: int) -> str:
    """`assay.yaml` with a comment beside everything a person may want to change."""
    choices, proposal = drafted.choices, drafted.proposal
    holdout = f"data/{choices.holdout.name}" if choices.holdout else None
    if holdout and choices.holdout and choices.holdout.name == choices.data.name:
        holdout = f"data/holdout-{choices.holdout.name}"
    lines = [
        f"# yaml-language-server: $schema=./{SCHEMA_FILE}",
        "# Everything here can be changed; run `assay compare` again afterwards.",
        "# What each setting means: docs/reference/config.md of Assay.",
        "version: 1",
        f"name: {drafted.name}",
        f"task: {proposal.task}  # label (few distinct outputs), json (records), text or tools",
        f"model: {flow(choices.model)}  # the language model to be specialised",
        "",
        "data:",
        f"  file: {flow('data/' + choices.data.name)}",
        f"  format: {drafted.detected.format}{_say_turns(drafted)}",
        f"  holdout: {flow(holdout)}  # null: a locked share of the file is kept for measuring",
        *column_lines(drafted.columns),
        f"  split: {{seed: 0, validation: 0.15, holdout: {holdout_share(len(drafted.examples))}}}",
        f"  train_rows: {flow(choices.train_rows)}  # null: train on all that is not held back",
        "",
        "# What every request begins with. Write what a new colleague would have to be told.",
        *block("system_prompt", proposal.system_prompt),
        "",
    ]
    if proposal.labels is not None:
        lines += ["labels:", *(f"  - {flow(label)}" for label in proposal.labels), ""]
    if proposal.schema is not None:
        lines += [
            "# The shape of a right answer, inferred from the outputs.",
            f"output_schema: {flow(proposal.schema)}",
            "",
        ]
    lines += [
        "# How an answer is scored, 0 to 1; `primary` decides.",
        "graders:",
        *grader_lines(proposal),
        f"primary: {proposal.primary}",
        "# good_enough: 0.8  # below this score no candidate is worth having; yours to say"
        if proposal.good_enough is None
        else f"good_enough: {proposal.good_enough}  # below this none is worth having",
        f"margin: {0.02}  # a difference this small does not matter to you",
        f"monthly_requests: {choices.monthly_requests}  # how often it will be asked; decides what "
        "is cheapest to own",
        "",
        "candidates:  # what is compared",
        *(f"  - {name}" for name in proposal.candidates),
        "",
        *(knowledge_lines(choices.abstain or None, choices.knowledge) if choices.documents else []),
        "few_shot: {ks: [1, 3, 8]}  # numbers of shown examples, chosen on validation",
        f"generate: {{max_new_tokens: {max_new_tokens}, constrained: auto}}",
        "fine_tune:  # the rest: docs/training.md",
        *_method_lines(proposal),
        f"  max_tokens: {max_tokens}",
        f"  system_prompt: {flow(proposal.training_prompt)}  # null: the one above",
        "",
        *cost_lines(choices.machine_hour_usd, choices.machine_hours_per_month),
        "  curation_hours: 8  # collecting and checking training examples, once",
        "  retrainings_per_year: 2  # how often a model is trained again",
        "  hours_per_retraining: 2  # new examples, the check of the version, its release",
    ]
    return "\n".join(lines) + "\n"


def _say_turns(drafted: Draft) -> str:
    if drafted.turns is None:
        return ""
    return "  # openai-turns: each turn of the assistant is a row; openai-chat: each record"


def _method_lines(proposal: Proposal) -> list[str]:
    if proposal.learns_from == "answers":
        return []
    return [f"  method: {registry.proposed_for(proposal.learns_from).name}  # judged answers"]


def knowledge_lines(abstain: str | None, base: str | None = None) -> list[str]:
    """The section on documents: those of the project's folder, or of a knowledge base."""
    return [
        "knowledge:  # the documents that candidates with rag look into",
        f"  paths: [{KNOWLEDGE}]" if base is None else f"  name: {flow(base)}",
        f"  abstain: {flow(abstain)}  # the right answer where no document holds one",
        "",
    ]
