"""No twin of a holdout row escapes the gate, whatever was done to it."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from assay.data.duplicates import duplicate_groups
from assay.data.normal import is_near, normalise
from assay.data.overlap import overlap

ANY_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)
WORDS = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789àéîöüñßøæλδя", min_size=1, max_size=9),
    min_size=1,
    max_size=30,
)


def disguise(words: list[str], draw: random.Random) -> str:
    """The same text to a reader: other case, punctuation and white space."""
    marks = ["!", "?", " ... ", "\u00a0", "\n", "; ", "\u3000", " - "]
    spelled = [word.upper() if draw.random() < 0.5 else word for word in words]
    return draw.choice(marks) + draw.choice(marks).join(spelled) + draw.choice(marks)


@given(st.lists(WORDS, min_size=1, max_size=20), st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_every_disguised_twin_is_found_as_exact(texts: list[list[str]], seed: int) -> None:
    draw = random.Random(seed)
    train = [" ".join(words) for words in texts]
    report = overlap(enumerate(train), enumerate(disguise(words, draw) for words in texts))
    assert report.exact == len(texts)
    found = {(t.holdout_row, t.train_row) for t in report.rows if t.kind == "exact"}
    assert found >= {(i, i) for i in range(len(texts))}


@given(st.integers(0, 10**9), st.integers(5, 600), st.integers(0, 6), st.floats(0, 0.12))
@settings(max_examples=150, deadline=None)
def test_every_near_pair_is_found_and_no_other(
    seed: int, length: int, changes: int, cut: float
) -> None:
    draw = random.Random(seed)
    letters = draw.choices("abcdefghij klmnop qrst", k=length)
    changed = letters[: length - int(cut * length)]
    for _ in range(changes):
        changed[draw.randrange(len(changed))] = draw.choice(["z", "zz", ""])
    a, b = normalise("".join(letters)), normalise("".join(changed))
    twins = a == b or is_near(a, b)
    assert bool(overlap([(0, a)], [(0, b)]).rows) == twins
    assert (duplicate_groups([a, b]).cluster[1] == 0) == twins


@given(ANY_TEXT)
@settings(deadline=None)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
