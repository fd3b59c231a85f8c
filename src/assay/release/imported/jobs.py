"""Which traces are of one job, and what that job is: its volume, cost, speed and kind of answers.

    jobs = find_jobs(folder.traces, price)

Two traces are of one job where their system prompts are the same without numbers, dates and ids,
or nearly so, and tools of the same names were offered. A prompt of a few words, or none, says
little of the job: there the beginnings of inputs divide it, where most inputs share one with many
others, as those of a program do that writes its instructions into the turn of the user.

What is kept of a prompt is small, for each of a hundred thousand may differ: two hashes, and its
text only as long as there are few.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

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
_EDGE_WORDS = 12
"""Of a system prompt's beginning or end, by which such are known."""
_FEW_WORDS = 3
_ANY_ASSISTANT = re.compile(r"(?:you are|you're|act as) (?:\S+ ){1,5}assistant\.?", re.IGNORECASE)
"""A prompt of few words, or such a one, says little of the job."""
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
_TEXTS = 10_000
"""Different prompts whose texts are kept, to be compared with each other."""
_COMPARED = 1_000
"""Prompts with the same tools that are, those with the most calls."""

Key = tuple[int, int]
"""Hashes of the skeleton of the system prompt, and of the names of the tools."""


@dataclass(slots=True)
class _Prompt:
    """A system prompt with its tools, before its inputs are looked at.

    Attributes:
        text: its skeleton, where it is kept.
        edges: hashes of its first and last words; None: it is too short to be known by them.
        openings: counts of the beginnings of inputs; None: the prompt tells the job.
    """

    text: str | None
    edges: tuple[int, int] | None
    openings: dict[int, Counter[int]] | None
    calls: int = 0

    @classmethod
    def of(cls, shown: str, *, keep_text: bool) -> _Prompt:
        words = shown.split(" ")
        says_little = len(words) <= _FEW_WORDS or _ANY_ASSISTANT.fullmatch(shown)
        ends = (" ".join(words[:_EDGE_WORDS]), " ".join(words[-_EDGE_WORDS:]))
        return cls(
            text=shown if keep_text else None,
            edges=(key64(ends[0]), key64(ends[1])) if len(words) >= _EDGE_WORDS else None,
            openings={count: Counter() for count in _OPENINGS} if says_little else None,
        )

    def add(self, input: str) -> None:
        self.calls += 1
        if self.openings is not None and self.calls <= _LOOKED_AT:
            for words, counts in self.openings.items():
                counts[key64(opening(input, words))] += 1

    def shared(self) -> tuple[int, frozenset[int]]:
        """How many words tell the job of an input, and which beginnings do; (0, none): no words."""
        looked_at = min(self.calls, _LOOKED_AT)
        for words, counts in (self.openings or {}).items():
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
                key, shown = _key_of(trace)
                if key not in prompts:
                    prompts[key] = _Prompt.of(shown, keep_text=len(prompts) < _TEXTS)
                prompts[key].add(trace.first_input)
                bar.advance(1)
        self._root = dict(_join_near(prompts, progress))
        # A prompt that says little is joined with none, so its counts are whole.
        self._shared = {key: prompts[key].shared() for key in set(self._root.values())}

    def job_of(self, trace: ImportedTrace) -> str:
        """The id of its job: 12 hex digits."""
        key = self._root[_key_of(trace)[0]]
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
    """Each prompt with the one that it counts as: of those that are near to it, the one that came
    first, so that what comes later does not change what a job is called."""
    keys = list(prompts)
    place = {key: number for number, key in enumerate(keys)}
    counted = {key: key for key in keys}
    rare = [key for key in keys if prompts[key].calls < _FEW and prompts[key].edges]
    for side in (0, 1):  # those that nobody shares a beginning with may share an end
        groups: dict[tuple[int, int], list[Key]] = {}
        for key in rare:
            edges = prompts[key].edges
            assert edges is not None
            groups.setdefault((edges[side], key[1]), []).append(key)
        for group in groups.values():
            counted.update(dict.fromkeys(group, group[0]))
        rare = [group[0] for group in groups.values() if len(group) == 1]
    calls: Counter[Key] = Counter()
    for key in keys:
        calls[counted[key]] += prompts[key].calls
    by_tools: dict[int, list[Key]] = {}
    for key in calls:
        if prompts[key].text is not None and prompts[key].openings is None:
            by_tools.setdefault(key[1], []).append(key)
    near: dict[Key, Key] = {}
    for same in by_tools.values():
        if len(same) > _COMPARED:
            progress.say(
                f"{len(same):,} prompts differ; the {_COMPARED:,} with the most calls are compared."
            )
            most = sorted(same, key=lambda key: (-calls[key], key))[:_COMPARED]
            same = sorted(most, key=place.__getitem__)
        found = components([Example.of(prompts[key].text or "", "") for key in same], progress)
        near |= {key: same[first] for key, first in zip(same, found, strict=True)}
    for key in keys:
        yield key, near.get(counted[key], counted[key])


def _key_of(trace: ImportedTrace) -> tuple[Key, str]:
    """What tells the prompt and the tools of a trace, and the prompt's skeleton."""
    named = sorted(tool["function"]["name"] for tool in trace.tools)
    shown = skeleton(trace.system)
    return (key64(shown), key64(json_sha256(named)) if named else 0), shown
