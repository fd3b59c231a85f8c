"""How sequences are put into packs."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.prefix.pack import Pack, group_into_packs, packed_tokens

SEQUENCES = st.lists(
    st.builds(
        lambda shared, own: [*range(shared), *own],
        st.sampled_from([0, 3, 15, 16, 40, 80]),
        st.lists(st.integers(100, 103), min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=20,
)


@given(SEQUENCES)
def test_tokens_are_counted_as_they_are_packed(sequences: list[list[int]]) -> None:
    assert packed_tokens(sequences) == len(Pack(sequences, torch.device("cpu")).ids)


@given(st.lists(SEQUENCES, min_size=1, max_size=8), st.integers(20, 300))
def test_a_pack_has_no_more_tokens_than_it_may(units: list[list[list[int]]], tokens: int) -> None:
    packs = group_into_packs(units, tokens)
    assert sorted(place for places in packs for place in places) == list(range(len(units)))
    for places in packs:
        rows = [row for place in places for row in units[place]]
        assert len(places) == 1 or len(Pack(rows, torch.device("cpu")).ids) <= tokens


def test_a_beginning_too_short_to_be_shared_counts_for_every_row() -> None:
    units = [[[*range(15), 100 + n, 101, 102]] for n in range(40)]
    # 40 rows of 18 tokens; with the beginning once it would be 135.
    packs = group_into_packs(units, 180)
    assert [len(places) for places in packs] == [10, 10, 10, 10]


def test_rows_that_share_next_to_nothing_part_where_a_pack_has_enough() -> None:
    begin = [*range(10)]
    unlike = [[[*begin, *range(100 * n, 100 * n + 90)]] for n in range(1, 9)]
    alike = [[[*range(90), 1000 + n, *begin]] for n in range(40)]
    assert [len(p) for p in group_into_packs(unlike, 4000, 250)] == [3, 3, 2]
    assert [len(p) for p in group_into_packs(alike, 4000, 250)] == [40]
    assert [len(p) for p in group_into_packs([*alike, *unlike], 4000, 250)] == [40, 3, 3, 2]
