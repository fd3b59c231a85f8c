"""The parts of the training benchmarks that compute without a model."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def scripts() -> Any:
    """The benchmark's modules; as scripts they find each other beside themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import line_chart
        import scaling
        import train
        import train_works

        yield SimpleNamespace(
            line_chart=line_chart, scaling=scaling, train=train, works=train_works
        )


@given(rows=st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=8))
def test_counted_once_is_the_number_of_different_beginnings(scripts: Any, rows: Any) -> None:
    beginnings = {tuple(row[: end + 1]) for row in rows for end in range(len(row))}
    assert scripts.works.counted_once(rows) == len(beginnings)


def test_a_rate_carries_its_share_of_the_preparation(scripts: Any) -> None:
    outcome = {"prepare_s": 4.0, "step_s": [1.0, 5.0], "tokens": [100, 300]}
    assert scripts.train.rates(outcome) == [100 / (1 + 1), 300 / (5 + 3)]


def test_rows_are_laid_so_that_the_shuffled_order_is_the_given_one(scripts: Any) -> None:
    from assay.train.sequences import epoch_order

    rows = [{"number": number} for number in range(12)]
    laid = scripts.works.as_shuffled(rows)
    assert [laid[place] for place in epoch_order(12, 0, 0)] == rows


def test_rows_of_a_step_begin_with_different_words(scripts: Any) -> None:
    pool = [{"prompt": f"{word} {n}"} for n in range(3) for word in ("one", "two", "three")]
    chosen = scripts.works._apart(pool, 3, 3)
    words = [row["prompt"].split()[0] for row in chosen]
    assert [len(set(words[first : first + 3])) for first in (0, 3, 6)] == [3, 3, 3]
    assert len({row["prompt"] for row in chosen}) == 9


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_synthetic_rows_share_what_they_should(scripts: Any, share: float) -> None:
    point = scripts.scaling.Point(4, 108, share)
    rows = scripts.scaling.rows_of(point, 2)
    assert [len(row["ids"]) for row in rows] == [108] * 8
    expected = round(100 * share)
    counted = scripts.works.counted_once([row["ids"] for row in rows])
    assert counted == expected + 8 * (108 - expected)


def test_ticks_are_round_and_reach_the_top(scripts: Any) -> None:
    assert scripts.line_chart.ticks(97.0) == [0, 20, 40, 60, 80]
    assert scripts.line_chart.ticks(4.0) == [0, 1, 2, 3, 4]
    assert scripts.line_chart.ticks(0.3) == pytest.approx([0, 0.1, 0.2, 0.3])


def test_every_point_is_drawn_twice(scripts: Any) -> None:
    panels = scripts.scaling.axes(quick=False)
    places = [point for lines in panels.values() for line in lines for point in line.points]
    measured = {point: scripts.scaling.Measured(2.0, 900.0) for _, point in places}
    drawn = ElementTree.fromstring(scripts.scaling.draw(panels, measured))
    circles = drawn.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 2 * len(places)
