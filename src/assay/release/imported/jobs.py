"""Which traces are of one job, and what that job is: its volume, cost, speed and kind of answers.

    jobs = find_jobs(folder.traces, price)

Two traces are of one job where their system prompts are the same without numbers, dates and ids,
or nearly so, and tools of the same names were offered. A prompt of a few words, or none, says
little of the job: there the beginnings of inputs divide it, where most inputs share one with many
others, as those of a program do that writes its instructions into the turn of the user.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from assay.data.normal import key64
from assay.data.partition import components
from assay.example import Example, json_sha256
from assay.progress import SILENT, Progress
from assay.release.imported.job import Job, Tally
from assay.release.imported.skeleton import opening, skeleton
from assay.release.imported.trace import ImportedTrace

Price = Callable[[ImportedTrace], float | None]

_FEW = 5
"""A prompt that was used less often is looked at as one of many that documents were pasted into."""
_FIRST_WORDS = 12
"""Of a system prompt, by which such are known; a shorter one says little of the job."""
_OPENINGS = (8, 5, 3)
"""Words of an input's beginning; the longest that most inputs share tells its job."""
_SHARE = 0.05
"""Of a prompt's calls: a beginning that so many share tells a job."""
_COVERED = 0.5
"""Of a prompt's calls: such beginnings have so many together, or none tells a job."""
_LEAST = 10
"""Calls that share a beginning, at least."""
_LOOKED_AT = 20_000
"""Calls of a prompt whose beginnings are counted."""

Key = tuple[str, str]
"""Skeleton of the system prompt, and hash of the names of the tools."""


@dataclass(slots=True)
class _Prompt:
    """A system prompt with its tools, before its inputs are looked at."""

    calls: int = 0
    openings: dict[int, Counter[int]] = field(
        default_factory=lambda: {words: Counter() for words in _OPENINGS}
    )

    def add(self, input: str) -> None:
        self.calls += 1
        if self.calls <= _LOOKED_AT:
            for words, counts in self.openings.items():
                counts[key64(opening(input, words))] += 1

    def join(self, other: _Prompt) -> None:
        self.calls += other.calls
        for words, counts in self.openings.items():
            counts.update(other.openings[words])

    def shared(self) -> tuple[int, frozenset[int]]:
        """How many words tell the job of an input, and which beginnings do; (0, none): no words."""
        looked_at = min(self.calls, _LOOKED_AT)
        for words, counts in self.openings.items():
            least = max(_LEAST, _SHARE * looked_at)
            often = {one: count for one, count in counts.items() if count >= least}
            if len(counts) > 1 and sum(often.values()) >= _COVERED * looked_at:
                return words, frozenset(often)
        return 0, frozenset()


class Assignment:
    """Tells of each trace which job it is of, once all traces were looked at."""

    def __init__(self, traces: Iterable[ImportedTrace], progress: Progress = SILENT) -> None:
        prompts: dict[Key, _Prompt] = {}
        with progress.task("Looking at prompts", None, "traces") as bar:
            for trace in traces:
                prompts.setdefault(_key_of(trace), _Prompt()).add(trace.first_input)
                bar.advance(1)
        self._root = dict(_join_near(prompts, progress))
        whole: dict[Key, _Prompt] = {}
        for key, prompt in prompts.items():
            whole.setdefault(self._root[key], _Prompt()).join(prompt)
        self._shared = {
            key: prompt.shared() if len(key[0].split(" ")) < _FIRST_WORDS else (0, frozenset())
            for key, prompt in whole.items()
        }

    def job_of(self, trace: ImportedTrace) -> str:
        """The id of its job: 12 hex digits."""
        key = self._root[_key_of(trace)]
        words, known = self._shared[key]
        begun = opening(trace.first_input, words) if words else ""
        return json_sha256([*key, begun if key64(begun) in known else ""])[:12]


def find_jobs(
    traces: Callable[[], Iterator[ImportedTrace]],
    price: Price,
    progress: Progress = SILENT,
) -> list[Job]:
    """The jobs, those with the most calls first.

    Args:
        traces: begins anew at each call; read twice.
        price: of a trace whose program did not say what it cost, in USD.
    """
    assignment = Assignment(traces(), progress)
    tallies: dict[str, Tally] = {}
    with progress.task("Counting jobs", None, "traces") as bar:
        for trace in traces():
            usd = trace.usd if trace.usd is not None else price(trace)
            tallies.setdefault(assignment.job_of(trace), Tally()).add(trace, usd)
            bar.advance(1)
    jobs = [tally.job(id) for id, tally in tallies.items()]
    return sorted(jobs, key=lambda job: (-job.calls, job.id))


def _join_near(prompts: dict[Key, _Prompt], progress: Progress) -> Iterator[tuple[Key, Key]]:
    """Each prompt with the one that it counts as: the first of those that are near to it."""
    keys = sorted(prompts)
    by_opening: dict[Any, Key] = {}
    counted = {}
    for key in keys:
        begun = tuple(key[0].split(" ")[:_FIRST_WORDS])
        is_one_of_many = prompts[key].calls < _FEW and len(begun) == _FIRST_WORDS
        counted[key] = by_opening.setdefault((begun, key[1]), key) if is_one_of_many else key
    roots = sorted(set(counted.values()))
    near: dict[Key, Key] = {}
    for tools in {key[1] for key in roots}:
        same = [key for key in roots if key[1] == tools]
        found = components([Example.of(key[0], "") for key in same], progress)
        near |= {key: same[first] for key, first in zip(same, found, strict=True)}
    for key in keys:
        yield key, near[counted[key]]


def _key_of(trace: ImportedTrace) -> Key:
    named = sorted(tool["function"]["name"] for tool in trace.tools)
    return skeleton(trace.system), json_sha256(named) if named else ""
