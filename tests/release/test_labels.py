"""A random sample stays random: labelled in its order, once, with skips in the open."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.release.shelf import PROJECT, shelf

from assay.errors import UsageError
from assay.example import Message
from assay.release import changes, labels, policies, traces
from assay.store.store import Store
from assay.store.tables import TraceRow, now

NAME = "tickets"


def test_in_order_once_and_with_skips(tmp_path: Path) -> None:
    store, (a, b, _) = shelf(tmp_path)
    changes.promote(store, PROJECT, NAME, "tuned@1", who="ann", force="a test")
    policies.switch_on(store, PROJECT, NAME, who="ann", sample=0.5)
    for n in range(40):
        _keep(store, f"trace-{n:02d}", b if n % 4 == 0 else a)
    kept = {t.id: t for t in traces.traces(store, PROJECT)}
    mine = [id for id in sorted(kept) if kept[id].sampled and kept[id].agent == a]
    assert 5 < len(mine) < 25

    def say(id: str, score: float | None) -> None:
        labels.label(store, PROJECT, id, score, who="ann")

    with pytest.raises(UsageError, match=f"The next is {mine[0]}"):
        say(mine[1], 1.0)
    with pytest.raises(UsageError, match="not in the random sample"):
        say(next(id for id in kept if not kept[id].sampled), 1.0)
    with pytest.raises(UsageError, match="not a score"):
        say(mine[0], 1.5)
    for id, score in zip(mine[:3], (1.0, None, 0.25), strict=True):
        found = labels.next_to_label(store, PROJECT, NAME, a)
        assert found is not None
        assert found.id == id
        say(id, score)
    with pytest.raises(UsageError, match="not the next"):
        say(mine[0], 0.0)
    assert labels.labels(store, PROJECT, NAME, a) == labels.Labels((1.0, 0.25), 1, len(mine) - 3)
    assert labels.labels(store, PROJECT, NAME, b).scores == ()
    # What was found outlives what was said.
    policies.switch_off(store, PROJECT, NAME, who="ann", delete_kept=True)
    assert labels.labels(store, PROJECT, NAME, a) == labels.Labels((1.0, 0.25), 1, 0)
    assert labels.next_to_label(store, PROJECT, NAME, a) is None


def test_what_has_run_out_of_time_is_not_the_next(tmp_path: Path) -> None:
    store, (a, *_) = shelf(tmp_path)
    changes.promote(store, PROJECT, NAME, "tuned@1", who="ann", force="a test")
    policies.switch_on(store, PROJECT, NAME, who="ann", sample=1.0, days=7)
    for n in range(2):
        _keep(store, f"trace-{n}", a)
    with store.session() as session:
        old = now() - timedelta(days=8)
        session.execute(update(TraceRow).where(TraceRow.id == "trace-0").values(at=old))
    found = labels.next_to_label(store, PROJECT, NAME, a)
    assert found is not None
    assert found.id == "trace-1"


def test_label_and_feedback_are_kept_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, (a, *_) = shelf(tmp_path)
    changes.promote(store, PROJECT, NAME, "tuned@1", who="ann", force="a test")
    policies.switch_on(store, PROJECT, NAME, who="ann", sample=1.0)
    _keep(store, "trace-0", a)
    for wrong in (" ", "x" * (traces.MOST_BYTES + 1), "\udcff"):
        with pytest.raises(UsageError, match="the corrected answer"):
            labels.label(store, PROJECT, "trace-0", 0.0, who="ann", corrected=wrong)
    assert labels.labels(store, PROJECT, NAME, a) == labels.Labels((), 0, 1)
    labels.label(store, PROJECT, "trace-0", 0.0, who="ann", thumb="down", corrected="y")
    assert labels.labels(store, PROJECT, NAME, a) == labels.Labels((0.0,), 0, 0)
    kept = traces.trace(store, PROJECT, "trace-0")
    assert (kept.thumb, kept.corrected) == ("down", "y")

    # One that is deleted between the look at the order and the writing has no label either.
    _keep(store, "trace-1", a)
    look = labels.next_to_label

    def look_and_delete(*which: Any) -> traces.Trace | None:
        found = look(*which)
        policies.switch_off(store, PROJECT, NAME, who="ann", delete_kept=True)
        return found

    monkeypatch.setattr(labels, "next_to_label", look_and_delete)
    with pytest.raises(traces.NoTraceError):
        labels.label(store, PROJECT, "trace-1", 0.0, who="ann", thumb="down")
    assert labels.labels(store, PROJECT, NAME, a) == labels.Labels((0.0,), 0, 0)


def _keep(store: Store, id: str, agent: str) -> None:
    asked, answer = [Message("user", id)], Message("assistant", "x")
    assert traces.record(store, PROJECT, NAME, agent, id=id, messages=asked, answer=answer)
