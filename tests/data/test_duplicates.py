"""Duplicates within one data set."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

from assay.data.duplicates import DuplicateIndex, duplicate_groups
from assay.data.normal import is_near

ORDER = "my order has not arrived at home although the shop says that it was sent a week ago"


def connected(texts: list[str]) -> list[int]:
    """The lowest row of each row's cluster, by the slow and plain way."""
    root = list(range(len(texts)))
    for a, b in combinations(range(len(texts)), 2):
        if is_near(texts[a], texts[b]) and root[a] != root[b]:
            low, high = sorted((root[a], root[b]))
            root = [low if r == high else r for r in root]
    return root


def test_exact_and_near_groups() -> None:
    groups = duplicate_groups([ORDER, "hello", ORDER + "x", ORDER, "other"])
    assert groups.first.tolist() == [0, 1, 2, 0, 4]
    assert groups.cluster.tolist() == [0, 1, 0, 0, 4]
    assert (groups.exact, groups.near, groups.complete) == (1, 1, True)


def test_a_chain_of_near_pairs_is_one_cluster() -> None:
    chain = [ORDER + " abcdefghijklmnop"[:n] for n in range(0, 16, 3)]
    assert not is_near(chain[0], chain[-1])
    assert duplicate_groups(chain).cluster.tolist() == [0] * len(chain)


def test_clusters_agree_with_comparing_all_pairs() -> None:
    draw = random.Random(5)
    words = ["order", "parcel", "card", "lamp", "blue", "late", "lost", "refund", "please", "sent"]
    texts: list[str] = []
    for _ in range(60):
        text = " ".join(draw.choices(words, k=draw.randint(1, 25)))
        texts.append(text)
        for _ in range(draw.randint(0, 4)):
            at = draw.randrange(len(text))
            texts.append(text[:at] + draw.choice("xyz") + text[at + draw.randint(0, 2) :])
    draw.shuffle(texts)
    expected = connected(texts)
    assert len(set(expected)) < len(texts)
    assert duplicate_groups(texts).cluster.tolist() == expected


def test_rows_of_one_template_are_joined_without_comparing_all_pairs() -> None:
    base = " ".join(f"word{i}" for i in range(120))
    groups = duplicate_groups(f"{base} {i:05d}" for i in range(2000))
    assert groups.near == 1999


def test_a_search_cut_short_says_so() -> None:
    with DuplicateIndex() as index:
        for i in range(3000):
            index.add(f"{ORDER} {i * 7919 % 100_000:05d} and {i * 104_729 % 100_000:05d}")
        assert index.groups(budget=1000).complete is False


def test_nothing_and_one() -> None:
    assert duplicate_groups([]).cluster.tolist() == []
    assert duplicate_groups(["a"]).cluster.tolist() == [0]


def test_no_file_stays(tmp_path: Path) -> None:
    with DuplicateIndex(tmp_path) as index:
        index.add(ORDER)
        index.groups()
        assert any(tmp_path.iterdir())
    assert not any(tmp_path.iterdir())
