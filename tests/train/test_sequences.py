"""Order, batches and fingerprints of rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.train.tiny import rows

from assay.train.sequences import epoch_order, fingerprint, padded_batches


@given(rows=st.integers(0, 200), seed=st.integers(0, 2**32), epoch=st.integers(0, 50))
def test_an_epoch_holds_every_row_once(rows: int, seed: int, epoch: int) -> None:
    order = epoch_order(rows, seed, epoch)
    assert sorted(order) == list(range(rows))
    assert order == epoch_order(rows, seed, epoch)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


@given(
    lengths=st.lists(st.integers(1, 80), max_size=40),
    tokens=st.integers(1, 300),
)
def test_padded_batches_hold_all_rows_within_their_limit(lengths: list[int], tokens: int) -> None:
    batches = padded_batches(lengths, tokens)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[place] for place in batch)
        assert padded <= tokens or len(batch) == 1


@pytest.mark.parametrize("part", ["ids", "trained", "weight", "order"])
def test_a_fingerprint_knows_each_part(part: str) -> None:
    sequences = rows(3)
    first = sequences[0]
    other = {
        "ids": [replace(first, ids=[*first.ids[:-1], 9]), *sequences[1:]],
        "trained": [replace(first, trained=[True] * len(first.ids)), *sequences[1:]],
        "weight": [replace(first, weight=0.5), *sequences[1:]],
        "order": sequences[::-1],
    }
    assert fingerprint(other[part]) != fingerprint(sequences)
    assert fingerprint(rows(3)) == fingerprint(sequences)
    assert fingerprint([replace(first, name="x"), *sequences[1:]]) == fingerprint(sequences)
