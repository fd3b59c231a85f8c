"""What a release was asked, day by day."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from assay.project.releases import traffic
from assay.project.workspace import Workspace
from assay.store.tables import TraceRow, now


def test_days_without_a_request_are_there(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with workspace.store.session() as session:
        for number, (age, seconds, thumb) in enumerate(
            [(0, 1.0, "up"), (0, 3.0, None), (2, None, "down"), (90, 9.0, None)]
        ):
            usage = None
            if seconds is not None:
                usage = {"seconds": seconds, "usd": 0.001 * seconds}
            session.add(
                TraceRow(
                    id=f"t{number}", project=workspace.name, release="r", agent="a" * 64,
                    messages=[], tools=[], answer={}, usage=usage, masked=0, sampled=False,
                    thumb=thumb, at=now() - timedelta(days=age),
                )
            )  # fmt: skip
    days = traffic.traffic(workspace, "r", days=5)
    assert [day.requests for day in days] == [0, 0, 1, 0, 2]
    assert (days[-1].seconds, days[-1].up) == (2.0, 1)
    assert days[-1].usd == pytest.approx(0.002)
    assert (days[2].seconds, days[2].usd, days[2].down) == (None, None, 1)
    assert traffic.traffic(workspace, "other")[-1].requests == 0
