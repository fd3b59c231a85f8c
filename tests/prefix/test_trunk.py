"""How units are put into families: a trunk, and passes over it."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.prefix import trunk as trunks
from assay.prefix.pack import group_into_packs, packed_tokens
from assay.prefix.trunk import Trunk, group_by_trunk

Units = list[list[list[int]]]

UNITS = st.lists(
    st.lists(
        st.builds(
            lambda shared, own: [*range(shared), *own],
            st.sampled_from([0, 40, 160, 200]),
            st.lists(st.integers(1000, 1003), min_size=1, max_size=60),
        ),
        min_size=1,
        max_size=2,
    ),
    min_size=1,
    max_size=24,
)


def computed(units: Units, tokens: int, enough: int | None) -> int:
    """Tokens of all trunks and of all passes over them."""
    total = 0
    for family in group_by_trunk(units, tokens, enough):
        start = len(family.trunk)
        rows = [[row[start:] for i in p for row in units[i]] for p in family.passes]
        total += start + sum(map(packed_tokens, rows))
    return total


def under(prefix: int, rows: int, own: int) -> Units:
    """Rows with a common beginning, and nothing else in common."""
    draw = random.Random(prefix)
    begin = [draw.randrange(1000) for _ in range(prefix)]
    return [[[*begin, *(10_000 * n + place for place in range(own))]] for n in range(1, rows + 1)]


@given(units=UNITS, tokens=st.sampled_from([60, 300, 4096]), enough=st.sampled_from([None, 100]))
def test_every_unit_is_in_one_pass_and_starts_with_its_trunk(
    units: Units, tokens: int, enough: int | None
) -> None:
    families = group_by_trunk(units, tokens, enough)
    placed = [place for family in families for members in family.passes for place in members]
    assert sorted(placed) == list(range(len(units)))
    for family in families:
        start = len(family.trunk)
        assert not start or (start >= trunks.LEAST and len(family.passes) > 1)
        for members in family.passes:
            rows = [row for place in members for row in units[place]]
            assert all(tuple(row[:start]) == family.trunk and len(row) > start for row in rows)
            before = start or len(trunks._shared(rows))  # one pass has no trunk of its own
            size = packed_tokens([row[before:] for row in rows])
            assert len(members) == 1 or size <= max(tokens - before, min(trunks.PIECE, tokens))


@given(units=UNITS, tokens=st.sampled_from([300, 4096]), enough=st.sampled_from([None, 100]))
def test_no_more_is_computed_than_in_packs(units: Units, tokens: int, enough: int | None) -> None:
    packs = group_into_packs(units, tokens, enough)
    rows = ([row for place in pack for row in units[place]] for pack in packs)
    assert computed(units, tokens, enough) <= sum(map(packed_tokens, rows))


def test_a_prefix_as_long_as_a_pass_is_computed_once() -> None:
    units = under(3000, rows=32, own=200)
    (family,) = group_by_trunk(units, 4096, 512)
    assert len(family.trunk) == 3000
    assert computed(units, 4096, 512) == 3000 + 32 * 200
    packs = group_into_packs(units, 4096, 512)
    assert sum(packed_tokens([units[i][0] for i in pack]) for pack in packs) > 24_000


def test_what_fits_into_one_pass_is_one_and_what_does_not_is_cut() -> None:
    units = under(500, rows=32, own=30)
    assert [len(f.passes) for f in group_by_trunk(units, 4096, 512)] == [1]
    (family,) = group_by_trunk(units, 1024, 512)
    assert len(family.trunk) == 500
    assert [len(members) for members in family.passes] == [17, 15]  # 524 tokens are left for each


def test_one_pass_needs_no_trunk() -> None:
    (family,) = group_by_trunk(under(500, rows=4, own=30), 4096, 512)
    assert family.trunk == ()


def test_neighbours_with_little_in_common_keep_their_own_trunks() -> None:
    units = [*under(2000, rows=30, own=100), *under(1500, rows=30, own=100)]
    assert sorted(len(f.trunk) for f in group_by_trunk(units, 2500, 512)) == [1500, 2000]


def test_gradients_of_passes_gather_in_the_trunk() -> None:
    weight = torch.ones(1, requires_grad=True)
    trunk = Trunk(2)
    key, value = (weight * torch.full((1, 1, 2, 3), number) for number in (2.0, 3.0))
    trunk.keep(0, key, value)
    trunk.keep(0, key * 0, value * 0)  # a layer that runs again to save memory changes nothing
    trunk.end(weight * torch.ones(2, 3))
    own = torch.zeros(1, 1, 1, 3)
    for _ in range(2):
        keys, values = trunk.before(0, own, own)
        assert keys.shape == values.shape == (1, 1, 3, 3)
        (keys.sum() + 2 * values.sum()).backward()
    assert weight.grad is None
    trunk.backward()
    assert weight.grad is not None
    assert float(weight.grad) == pytest.approx(2 * (6 * 2.0 + 2 * 6 * 3.0))
