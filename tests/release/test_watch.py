"""A release that has fallen is called stale, one that has not is not, and labels are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.release.shelf import PROJECT, compared, right, shelf

from assay.errors import AssayError, UsageError
from assay.evaluate.stats import wilson
from assay.release import changes
from assay.release.labels import Labels
from assay.release.releases import Release
from assay.release.watch import ALPHA, Reference, reference, watch

NAME = "tickets"


@pytest.fixture
def release(tmp_path: Path) -> Release:
    store, (a, b, _) = shelf(tmp_path)
    compared(store, {a: right(0.5), b: right(0.9)})
    return changes.promote(store, PROJECT, NAME, "tuned@2", who="ann")


def fresh(mean: float, count: int, seed: int = 0) -> Labels:
    scores = (np.random.default_rng(seed).random(count) < mean).astype(float)
    return Labels(tuple(scores.tolist()), 0, 3)


AT = Reference(*(0.9, wilson(900, 1000)[0]))


def test_the_reference_is_what_the_comparison_measured(tmp_path: Path, release: Release) -> None:
    store, (a, b, c) = shelf(tmp_path / "other")
    result = compared(store, {a: right(0.5), b: right(0.9)})
    found = reference(result, release, None)
    assert found.score == pytest.approx(0.9)
    assert found.low == pytest.approx(wilson(900, 1000)[0])
    assert found.width == pytest.approx(1.0, abs=0.05)
    assert reference(None, release, 0.7) == Reference(0.7, 0.7)
    with pytest.raises(AssayError, match="--against"):
        reference(None, release, None)
    with pytest.raises(UsageError, match="no score"):
        reference(result, release, 90)
    narrow = compared(store, {a: [0.4, 0.5] * 500, c: [0.5, 0.6] * 500}, id="d")
    other = changes.promote(store, PROJECT, NAME, "tuned@3", who="ann")
    assert reference(narrow, other, None).width < 0.2


def test_before_the_first_label_it_says_how_many(release: Release) -> None:
    found = watch(release, Labels((), 0, 5), AT)
    assert (found.outcome, found.labels, found.waiting, found.mean) == ("open", 0, 5, None)
    assert found.needed is not None
    assert 50 < found.needed < 1000
    assert f"About {found.needed} more labels" in found.sentence
    assert watch(release, Labels((), 0, 0), AT, drop=0.2).needed < found.needed
    with pytest.raises(UsageError, match="no fall"):
        watch(release, Labels((), 0, 0), AT, drop=10)


def test_a_fall_is_called_and_none_is_not(release: Release) -> None:
    fallen = watch(release, fresh(0.75, 800), AT)
    assert fallen.outcome == "stale"
    assert fallen.needed is None
    assert fallen.sentence.startswith("Gone stale: 800 fresh answers score")
    assert fallen.mean is not None
    assert fallen.mean_high is not None
    assert fallen.mean <= fallen.mean_high < AT.low + 0.02
    kept = watch(release, fresh(0.9, 800), AT)
    assert kept.outcome == "holds"
    begun = watch(release, fresh(0.9, 50), AT)
    assert begun.outcome == "open"
    assert begun.needed is not None
    assert begun.needed < watch(release, Labels((), 0, 0), AT).needed


def test_what_cannot_be_told_is_said(release: Release) -> None:
    rough = Reference(0.48, 0.39)
    found = watch(release, Labels((), 0, 0), rough, drop=0.05)
    assert (found.outcome, found.needed) == ("open", None)
    assert "larger --drop" in found.sentence


def test_false_alarms_with_the_uncertainty_of_the_promotion(release: Release) -> None:
    """Nothing changes: the holdout and the fresh answers are drawn from the same mean."""
    rng, runs = np.random.default_rng(5), 150
    alarms = 0
    for run in range(runs):
        seen = int((rng.random(200) < 0.8).sum())
        at = Reference(seen / 200, wilson(seen, 200)[0])
        alarms += watch(release, fresh(0.8, 300, seed=run), at).outcome == "stale"
    assert alarms / runs <= ALPHA
