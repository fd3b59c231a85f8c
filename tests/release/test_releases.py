"""A release sticks to its callers: one key, one agent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.release.shelf import PROJECT

from assay.release.releases import place

NAME = "tickets"


@given(key=st.text(), name=st.text(max_size=20), small=st.floats(0, 1), large=st.floats(0, 1))
def test_a_key_keeps_its_place(key: str, name: str, small: float, large: float) -> None:
    small, large = sorted((small, large))
    where = place(PROJECT, name, key)
    assert 0 <= where < 1
    assert where == place(PROJECT, name, key)
    assert not (where < small) or where < large  # a larger share keeps whom it had


@given(st.integers(0, 2**32), st.floats(0.02, 0.98))
def test_shares_are_what_they_say(salt: int, share: float) -> None:
    n = 4000
    hit = sum(place(PROJECT, NAME, f"{salt}/{i}") < share for i in range(n))
    # Six standard errors: wrong once in 500 million.
    assert abs(hit / n - share) < 6 * (share * (1 - share) / n) ** 0.5


def test_releases_draw_apart() -> None:
    """Whom one release tries things on says nothing about another one."""
    both = sum(
        place(PROJECT, "a", str(i)) < 0.5 and place(PROJECT, "b", str(i)) < 0.5 for i in range(4000)
    )
    assert abs(both / 4000 - 0.25) < 0.04
