"""A job that was found among traces, and the counts it is made of."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from assay import json_reader
from assay.candidates.registry import offer
from assay.config import TaskKind
from assay.data.normal import key64, normalise
from assay.data.propose import guess_task
from assay.quantities import say_count
from assay.release.imported.trace import ImportedTrace

_SAMPLE = 2000
"""Answers of a job that are looked at to tell its task."""
_SAMPLE_CHARACTERS = 4_000_000
LEAST = 20
"""Calls of a job; fewer do not show which kind of answers it has."""
_KINDS = {
    "label": "this looks like sorting into labels",
    "json": "this looks like filling in records",
    "text": "this looks like answering in free text",
    "tools": "this looks like calling tools",
}


@dataclass(frozen=True, slots=True)
class Job:
    """Traces that ask for the same, and what they show.

    Attributes:
        system: its system prompt, as the first trace has it; "" where it has none.
        input: the first input, by which people know it.
        inputs: how many different ones there are; `answers`: how many different answers.
        prompt_tokens, completion_tokens: of `counted` calls, whose tokens are known.
        usd: of `priced` calls, whose cost is known.
        median_s, p95_s: seconds of an answer; None where none is known.
        models: calls by the model that answered; "" where it is not known.
        calling, records: shares of answers that call a tool, and that are JSON.
        corrected, up, down: feedback.
        task: as `assay init` would propose it.
        cheaper: whether something cheaper could do this, as far as the data shows.
    """

    id: str
    system: str
    input: str
    tools: tuple[str, ...]
    calls: int
    first: str | None
    last: str | None
    inputs: int
    answers: int
    prompt_tokens: int
    completion_tokens: int
    counted: int
    usd: float | None
    priced: int
    median_s: float | None
    p95_s: float | None
    models: dict[str, int]
    calling: float
    records: float
    corrected: int
    up: int
    down: int
    task: TaskKind
    cheaper: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def notes(self) -> list[str]:
        """What else is known of it, a sentence each."""
        models = (f"{name or 'unknown'} ({calls:,})" for name, calls in self.models.items())
        notes = [f"Answered by {', '.join(models)}."]
        if self.counted:
            of = "" if self.counted == self.calls else f" in {say_count(self.counted, 'call')}"
            asked, answered = f"{self.prompt_tokens:,}", f"{self.completion_tokens:,}"
            notes.append(f"{asked} tokens asked, {answered} answered{of}.")
        if self.tools:
            named = ", ".join(self.tools)
            notes.append(f"{self.calling:.0%} of the answers call a tool; offered: {named}.")
        if 0 < self.records < 1:
            notes.append(f"{self.records:.0%} of the answers are JSON.")
        if 0 < self.priced < self.calls:
            notes.append(
                f"The cost is of {say_count(self.priced, 'call')}; that of the others is not known."
            )
        if self.corrected or self.up or self.down:
            notes.append(f"Feedback: {self.corrected} corrected, {self.up} up, {self.down} down.")
        return notes


class Tally:
    """What is counted of a job, trace by trace; texts of a sample only."""

    def __init__(self) -> None:
        self.calls = 0
        self.shown: ImportedTrace | None = None
        self.inputs: set[int] = set()
        self.answers: set[int] = set()
        self.sample: list[str] = []
        self.sampled_characters = 0
        self.prompt_tokens = self.completion_tokens = self.counted = 0
        self.usd, self.priced = 0.0, 0
        self.seconds = array("d")
        self.models: Counter[str] = Counter()
        self.said: Counter[str] = Counter()
        self.first: str | None = None
        self.last: str | None = None

    def add(self, trace: ImportedTrace, usd: float | None) -> None:
        """Count a trace in.

        Args:
            usd: what it cost; None where that is not known.
        """
        self.calls += 1
        self.shown = self.shown or trace
        self.inputs.add(key64(normalise(trace.input)))
        answer = trace.answer.text.strip()
        self.answers.add(key64(answer))
        if len(self.sample) < _SAMPLE and self.sampled_characters < _SAMPLE_CHARACTERS:
            self.sample.append(answer)
            self.sampled_characters += len(answer)
        if trace.prompt_tokens is not None and trace.completion_tokens is not None:
            self.prompt_tokens += trace.prompt_tokens
            self.completion_tokens += trace.completion_tokens
            self.counted += 1
        if usd is not None:
            self.usd += usd
            self.priced += 1
        if trace.seconds is not None:
            self.seconds.append(trace.seconds)
        self.models[trace.model or ""] += 1
        self.said["calling"] += bool(trace.answer.tool_calls)
        self.said["records"] += _is_record(answer)
        self.said["corrected"] += trace.corrected is not None
        if trace.thumb is not None:
            self.said[trace.thumb] += 1
        if trace.at is not None:
            self.first = min(self.first or trace.at, trace.at)
            self.last = max(self.last or trace.at, trace.at)

    def job(self, id: str) -> Job:
        """What was counted; there is one trace at least."""
        assert self.shown is not None
        seconds = sorted(self.seconds)
        task = "tools" if self.said["calling"] else guess_task(Counter(self.sample))[0]
        named = (tool["function"]["name"] for tool in self.shown.tools)
        return Job(
            id=id,
            system=self.shown.system,
            input=self.shown.input,
            tools=tuple(named),
            calls=self.calls,
            first=self.first,
            last=self.last,
            inputs=len(self.inputs),
            answers=len(self.answers),
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            counted=self.counted,
            usd=self.usd if self.priced else None,
            priced=self.priced,
            median_s=_quantile(seconds, 0.5),
            p95_s=_quantile(seconds, 0.95),
            models=dict(self.models.most_common()),
            calling=self.said["calling"] / self.calls,
            records=self.said["records"] / self.calls,
            corrected=self.said["corrected"],
            up=self.said["up"],
            down=self.said["down"],
            task=task,
            cheaper=self._cheaper(task),
        )

    def _cheaper(self, task: TaskKind) -> str:
        """What the counts show, and who would take part without asking a language model."""
        parts = []
        if self.calls < LEAST:
            return f"{self.calls} {'call' if self.calls == 1 else 'calls'}: too few to tell."
        if len(self.answers) == 1:
            parts.append(f"All {self.calls:,} answers are the same.")
        else:
            counted = f"{len(self.answers):,} different answers in {self.calls:,} calls"
            parts.append(f"{counted}: {_KINDS[task]}.")
        if repeated := self.calls - len(self.inputs):
            parts.append(f"{repeated / self.calls:.0%} of the calls repeat an earlier input.")
        found = offer(task=task, documents=False)
        fitted = [name for name, spec in found.items() if _is_cheap(spec)]
        if fitted:
            verb = "needs" if len(fitted) == 1 else "need"
            parts.append(
                f"{_in_words(fitted)} {verb} no language model and would take part in a comparison."
            )
        return " ".join(parts)


def _is_cheap(spec: Any) -> bool:
    return spec.family == "fitted" and not spec.floor and (spec.proposed or spec.baseline)


def _in_words(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is_record(text: str) -> bool:
    if not text.startswith(("{", "[")):
        return False
    try:
        json_reader.read(text)
    except ValueError:
        return False
    return True


def _quantile(ordered: list[float], share: float) -> float | None:
    """The least value that so large a share does not exceed."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
