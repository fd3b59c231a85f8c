"""Who goes where: groups that stay together, strata, and draws that depend on content and seed.

Nothing here depends on the order of the rows or on a random generator: rows are ordered by a hash
of the seed and of what they say, so that the same examples fall the same way everywhere.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from assay.config import TaskKind
from assay.data.duplicates import DisjointSets, duplicate_groups
from assay.data.normal import normalise
from assay.example import Example, canonical_json
from assay.progress import SILENT, Progress

CLUSTER = "cluster-"
"""Begins the name of a group that no user has named: rows with nearly the same input."""


def components(examples: Sequence[Example], progress: Progress = SILENT) -> list[int]:
    """For each example the first row of its component.

    One component: rows with the same or a near input, and rows of one user-named group, and
    whatever these join.
    """
    found = duplicate_groups((normalise(e.input) for e in examples), progress)
    sets = DisjointSets(found.cluster)
    first: dict[str, int] = {}
    for row, example in enumerate(examples):
        if example.group is not None:
            sets.union(first.setdefault(example.group, row), row)
    return [int(root) for root in sets.roots()]


def join_groups(*parts: tuple[Sequence[Example], Sequence[int]]) -> dict[str, str]:
    """User's names of groups that share a component in any part -> the first name of them all.

    What joins two groups in one part joins them in every part, though each part names them by
    itself (`with_groups`): rows of the second must not stand in the holdout under the name of the
    first, and in train under their own.

    Args:
        parts: examples with their components.
    """
    names = sorted({e.group for examples, _ in parts for e in examples if e.group is not None})
    place = {name: number for number, name in enumerate(names)}
    sets = DisjointSets(np.arange(len(names)))
    for examples, component in parts:
        for rows in _members(component).values():
            held = [place[name] for r in rows if (name := examples[r].group) is not None]
            for other in held[1:]:
                sets.union(held[0], other)
    return {name: names[root] for name, root in zip(names, sets.roots(), strict=True)}


def with_groups(examples: Sequence[Example], component: Sequence[int]) -> list[Example]:
    """The examples with `group` naming their component, where it holds more than one row.

    A user's name of the group is kept (the first one where several were joined); a cluster is
    named by its content.
    """
    members = _members(component)
    named = list(examples)
    for rows in members.values():
        names = sorted({examples[r].group or "" for r in rows} - {""})
        if not names and len(rows) == 1:
            continue
        name = names[0] if names else f"{CLUSTER}{_name_of(examples, rows)[:12]}"
        for row in rows:
            named[row] = replace(examples[row], group=name)
    return named


def stratum_of(task: TaskKind) -> Callable[[Example], str]:
    """What examples are balanced by: the label of a label task; nothing otherwise."""
    return (lambda example: example.output) if task == "label" else (lambda example: "")


def take_share(
    examples: Sequence[Example],
    component: Sequence[int],
    share: float,
    *,
    seed: int,
    purpose: str,
    stratum: Callable[[Example], str],
) -> set[int]:
    """Rows of whole components that make up about `share` of every stratum.

    A component counts to the stratum most of its rows are of. A stratum of several components
    gives at least one and keeps at least one; a stratum of one component gives none.

    Args:
        share: 0 to 1.
        purpose: so that `holdout` and `validation` are drawn independently.
    """
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for rows in _members(component).values():
        votes = Counter(stratum(examples[r]) for r in rows)
        strata[min(votes, key=lambda name: (-votes[name], name))].append(rows)
    sizes = {name: sum(map(len, groups)) for name, groups in strata.items()}
    quota = _quotas(sizes, round(share * len(examples)))
    taken: set[int] = set()
    for name, groups in strata.items():
        if len(groups) > 1:
            keyed = {_seeded(seed, purpose, _name_of(examples, rows)): rows for rows in groups}
            ordered = [keyed[key] for key in sorted(keyed)]
            for rows in _fill(ordered, max(quota[name], 1)):
                taken.update(rows)
    return taken


def draw(
    examples: Sequence[Example],
    count: int | None,
    *,
    seed: int,
    purpose: str,
    stratum: Callable[[Example], str],
) -> list[Example]:
    """At most `count` examples, in their order, every stratum in proportion (at least one)."""
    if count is None or count >= len(examples):
        return list(examples)
    strata: dict[str, list[tuple[str, int]]] = defaultdict(list)
    copies: Counter[str] = Counter()
    for row, example in enumerate(examples):
        content = example.content_hash()
        copies[content] += 1
        key = _seeded(seed, purpose, f"{content}:{copies[content]}")
        strata[stratum(example)].append((key, row))
    quota = _quotas({name: len(rows) for name, rows in strata.items()}, count, least=1)
    chosen = {row for name, rows in strata.items() for _, row in sorted(rows)[: quota[name]]}
    return [example for row, example in enumerate(examples) if row in chosen]


def merge_references(examples: Iterable[Example]) -> list[Example]:
    """Examples with one and the same prompt made one, the further outputs as `references`."""
    merged: dict[str, Example] = {}
    for example in examples:
        key = canonical_json(
            {"prompt": [m.to_dict() for m in example.prompt], "tools": list(example.tools)}
        )
        kept = merged.setdefault(key, example)
        if kept is not example:
            further = [o for o in example.accepted if o not in kept.accepted]
            references = (*kept.references, *dict.fromkeys(further))
            merged[key] = replace(kept, references=references)
    return list(merged.values())


def merge_liked(examples: list[Example]) -> list[Example]:
    """Right answers to one input become one row; those that somebody disliked stay themselves."""
    liked = merge_references([example for example in examples if example.liked])
    return [*liked, *(example for example in examples if not example.liked)]


def _fill(groups: Sequence[list[int]], quota: int) -> list[list[int]]:
    """Whole groups, in order, that come close to `quota` rows; never all of them, never none."""
    taken: list[list[int]] = []
    left: list[list[int]] = []
    gap = quota
    for group in groups:
        if len(group) <= gap and len(taken) < len(groups) - 1:
            taken.append(group)
            gap -= len(group)
        else:
            left.append(group)
    smallest = min(left, key=len)
    if len(left) > 1 and (not taken or len(smallest) < 2 * gap):
        taken.append(smallest)
    return taken


def _quotas(sizes: dict[str, int], total: int, least: int = 0) -> dict[str, int]:
    """`total` divided in proportion to `sizes` by largest remainders, each at least `least`."""
    whole = sum(sizes.values())
    exact = {name: total * size / whole for name, size in sizes.items()}
    quota = {name: max(int(share), least) for name, share in exact.items()}
    by_remainder = sorted(sizes, key=lambda name: (int(exact[name]) - exact[name], name))
    for name in by_remainder:
        if sum(quota.values()) >= total:
            break
        quota[name] = min(quota[name] + 1, sizes[name])
    while sum(quota.values()) > total and max(quota.values()) > least:
        largest = max(sorted(quota), key=lambda name: quota[name])
        quota[largest] -= 1
    return quota


def _members(component: Sequence[int]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = defaultdict(list)
    for row, root in enumerate(component):
        members[root].append(row)
    return members


def _name_of(examples: Sequence[Example], rows: Iterable[int]) -> str:
    """A name for a set of rows that does not depend on their order or their place."""
    return min(examples[r].content_hash() for r in rows)


def _seeded(seed: int, purpose: str, name: str) -> str:
    return hashlib.sha256(f"{seed}:{purpose}:{name}".encode()).hexdigest()
