"""Corrected traces become new examples, through the same checks as any other file of data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.chat.template import Template
from assay.config import Config
from assay.data.calls import turn_of
from assay.data.checks import REJECTED_FILE, check
from assay.data.contents import PROMPT_TOO_LONG
from assay.data.problems import CODES, json_line
from assay.errors import Step, UsageError
from assay.example import Example
from assay.release.traces import Trace
from assay.store.files import write_atomic_lines

_OF_A_DATASET = frozenset({"few-rows", "no-rows", "one-class", "rare-class", "lone-label"})
"""Problems of a data set as a whole, which a handful of corrections is not."""


@dataclass(frozen=True, slots=True)
class ExportedExamples:
    """What became of corrected traces.

    Attributes:
        file: conversations in OpenAI's form, one a line; None when none could be used.
        rejected_file: the others, each with its trace and its problems; None when there are none.
        counts: how often each problem was found, by code; warnings do not reject.
        prompt: what is wrong with the project's system prompt, and what to do; None: not that
            alone is longer than what the model reads.
        masked: examples in which personal data was replaced when they were kept.
        used: ids of the traces that were written.
    """

    file: str | None
    written: int
    rejected: int
    rejected_file: str | None
    counts: dict[str, int]
    prompt: str | None
    masked: int
    used: frozenset[str] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """What is told of it; the traces that were written are in the file."""
        told = asdict(self)
        del told["used"]
        return told


def write_examples(
    traces: list[Trace],
    to: Path,
    *,
    config: Config | None,
    template: Template | None = None,
    context_length: int | None = None,
) -> ExportedExamples:
    """Write corrected traces as examples to a file, and what the checks reject beside it.

    Args:
        traces: with a corrected answer each.
        config: of the project, by whose task, labels and schema they are checked; None: only
            what every example must fulfil.

    Raises:
        UsageError: there is something at `to` or beside it, or there are no traces.
    """
    if to.exists():
        raise UsageError(f"{to} already exists.", fix="Choose another name.")
    beside = rejected_file(to)
    if beside.exists():
        raise UsageError(
            f"{beside}, where rejected traces would go, already exists.",
            fix="Choose another name, or move it away.",
        )
    if not traces:
        raise UsageError(
            "no trace has a corrected answer.",
            fix=f"Give some {Step.CORRECT}.",
        )
    kept: list[Example] = []
    with tempfile.TemporaryDirectory(prefix="assay-traces-") as name:
        scratch = Path(name)
        draft = scratch / "traces.jsonl"
        write_atomic_lines(draft, (json_line(_conversation(trace)) for trace in traces))
        report = check(
            draft,
            format="openai-chat",
            task=config.task if config else None,
            labels=config.labels if config else None,
            schema=config.output_schema if config else None,
            template=template,
            context_length=context_length,
            system_prompt=config.system_prompt if config else None,
            out=scratch / "found",
            keep=lambda example, _: kept.append(example),
        )
        rejected = [
            json_line(_rejection(traces[row["line"] - 1], row))
            for row in _rows(scratch / "found" / REJECTED_FILE)
        ]
    if rejected:
        write_atomic_lines(beside, rejected)
    used = [traces[example.line - 1] for example in kept]
    if used:
        write_atomic_lines(to, (json_line(_conversation(trace)) for trace in used))
    counts = {code: n for code, n in report.counts.items() if code not in _OF_A_DATASET}
    return ExportedExamples(
        file=str(to) if used else None,
        written=len(used),
        rejected=len(rejected),
        rejected_file=str(beside) if rejected else None,
        counts={code: n for code, n in counts.items() if CODES[code][0] != "notice"},
        prompt=next(
            (f"{one.message} {one.fix}" for one in report.problems if one.code == PROMPT_TOO_LONG),
            None,
        ),
        masked=sum(trace.masked > 0 for trace in used),
        used=frozenset(trace.id for trace in used),
    )


def rejected_file(to: Path) -> Path:
    """Where traces go that are rejected when examples are written to `to`."""
    return to.with_suffix(".rejected.jsonl")


def _conversation(trace: Trace) -> dict[str, Any]:
    # Nobody has corrected what was answered before.
    before = [{**m, "weight": 0} if m.get("role") == "assistant" else m for m in trace.messages]
    turns = [*before, turn_of(trace.corrected or "", trace.tools).to_dict()]
    return {"messages": turns, **({"tools": trace.tools} if trace.tools else {})}


def _rejection(trace: Trace, row: dict[str, Any]) -> dict[str, Any]:
    """Of its problems all but file and line, which are those of a draft that is gone."""
    problems = [
        {name: value for name, value in problem.items() if name not in ("file", "line")}
        for problem in row["problems"]
    ]
    return {"trace": trace.id, "raw": row["raw"], "problems": problems}


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json_reader.read(line)
