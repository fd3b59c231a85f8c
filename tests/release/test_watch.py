"""A release that has fallen is called stale, one that has not is not, and labels are counted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tests.release.shelf import PROJECT, compared, right, shelf

from assay.errors import AssayError, UsageError
from assay.evaluate.sequential import MOST_LABELS
from assay.evaluate.stats import wilson
from assay.release import changes
from assay.release.labels import Labels
from assay.release.releases import Release
from assay.release.watch import Reference, reference, watch

NAME = "tickets"


@pytest.fixture
def release(tmp_path: Path) -> Release:
    store, (a, b, _) = shelf(tmp_path)
    compared(store, {a: right(0.5), b: right(0.9)})
    return changes.promote(store, PROJECT, NAME, "tuned@2", who="ann")


def fresh(mean: float, count: int, seed: int = 0) -> Labels:
    scores = (np.random.default_rng(seed).random(count) < mean).astype(float)
    return Labels(tuple(scores.tolist()), 0, 3)


AT = Reference(0.9, *wilson(900, 1000))


def test_the_reference_is_what_the_comparison_measured(tmp_path: Path, release: Release) -> None:
    store, (a, b, c) = shelf(tmp_path / "other")
    result = compared(store, {a: right(0.5), b: right(0.9)})
    found = reference(result, release, None)
    assert found.score == pytest.approx(0.9)
    assert (found.low, found.high) == pytest.approx(wilson(900, 1000))
    assert found.chosen_among == 2
    assert found.chosen_low == result.verdict.score_low
    assert found.chosen_low < found.low
    said = watch(release, Labels((), 0, 0), found).sentence
    assert f"likely {100 * found.chosen_low:.3g} to {100 * found.high:.3g}, as the" in said
    assert found.width == pytest.approx(1.0, abs=0.05)
    assert reference(None, release, 0.7) == Reference(0.7, 0.7, 0.7)
    with pytest.raises(AssayError, match="--against"):
        reference(None, release, None)
    with pytest.raises(UsageError, match="not a score"):
        reference(result, release, 90)
    narrow = compared(store, {a: [0.4, 0.5] * 500, c: [0.5, 0.6] * 500}, id="d")
    other = changes.promote(store, PROJECT, NAME, "tuned@3", who="ann")
    assert reference(narrow, other, None).width < 0.2


def test_before_the_first_label_it_says_how_many(release: Release) -> None:
    found = watch(release, Labels((), 0, 5), AT)
    assert (found.outcome, found.labels, found.waiting, found.mean) == ("open", 0, 5, None)
    assert found.needed is not None
    assert 50 < found.needed < 1000
    assert f"About {found.needed} judged answers will show whether" in found.sentence
    assert watch(release, Labels((), 0, 0), AT, drop=0.2).needed < found.needed
    with pytest.raises(UsageError, match="not a valid fall"):
        watch(release, Labels((), 0, 0), AT, drop=10)


def test_the_first_label_does_not_contradict_what_was_said_before_it(release: Release) -> None:
    at = Reference(42 / 43, 0.755, 1.0, chosen_among=5, chosen_low=0.68)
    before = watch(release, Labels((), 0, 5), at).sentence
    after = watch(release, fresh(1.0, 1), at).sentence
    takes = re.compile(
        r"it takes about (\d+) (?:more )?judged answers to show that it has not fallen by 10 p"
    )
    counts = [int(takes.search(said)[1]) for said in (before, after)]
    assert counts[1] <= counts[0] < 1000
    assert (
        "If it has fallen by 10 points, it takes more than 10,000 judged answers to show it"
        in before
    )
    assert "If it has fallen by" not in after


def test_a_fall_is_called_and_none_is_not(release: Release) -> None:
    fallen = watch(release, fresh(0.75, 800), AT)
    assert fallen.outcome == "stale"
    assert fallen.needed is None
    assert fallen.sentence.startswith("Stale: 800 fresh answers score")
    assert fallen.mean is not None
    assert fallen.mean_high is not None
    assert fallen.mean <= fallen.mean_high < AT.low + 0.02
    kept = watch(release, fresh(0.9, 800), AT)
    assert kept.outcome == "holds"
    begun = watch(release, fresh(0.9, 50), AT)
    assert begun.outcome == "open"
    assert begun.needed is not None
    assert begun.needed < watch(release, Labels((), 0, 0), AT).needed


@pytest.mark.parametrize(("score", "rows", "drop"), [(0.8, 100, 0.1), (0.8, 200, 0.1)])
def test_what_takes_too_many_labels_is_said_with_what_would_help(
    release: Release, score: float, rows: int, drop: float
) -> None:
    at = Reference(score, *wilson(round(score * rows), rows))
    found = watch(release, Labels((), 0, 0), at, drop=drop)
    assert (found.outcome, found.needed) == ("open", None)
    assert f"more than {MOST_LABELS:,} judged answers" in found.sentence
    assert "show whether" not in found.sentence
    larger = float(re.search(r"a fall of ([\d.]+) points can", found.sentence)[1]) / 100
    few = watch(release, Labels((), 0, 0), at, drop=larger).needed
    assert f"With about {few:,} judged answers, a fall" in found.sentence
    assert "`" not in found.sentence  # a page shows it, too
    assert "times as many examples" in found.sentence
    stated = watch(release, Labels((), 0, 0), Reference(0.8, 0.8, 0.8), drop=0.02)
    assert "itself uncertain" not in stated.sentence
    assert "as many examples" not in stated.sentence


@pytest.mark.parametrize("labels", [Labels((), 0, 3), Labels((1.0,), 0, 0)])
def test_a_score_below_the_drop_cannot_fall_by_it(release: Release, labels: Labels) -> None:
    found = watch(release, labels, Reference(0.056, *wilson(2, 36)))
    assert (found.outcome, found.needed) == ("open", None)
    assert found.sentence.endswith(
        "A score of 5.6 cannot fall by 10 points, so there is no such fall to watch for."
    )
