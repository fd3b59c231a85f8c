"""A process that dies while it changes a release leaves the old state or the new one, whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def _killed(folder: Path, kills: int, seed: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.killing", str(folder), str(kills), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    assert len(found["deaths"]) == kills  # type: ignore[arg-type]
    assert int(found["changes"]) > kills  # type: ignore[call-overload]
    assert int(found["asked"]) > 0  # type: ignore[call-overload]
    return found


@pytest.mark.slow
def test_three_kills_in_the_middle_of_promotions(tmp_path: Path) -> None:
    _killed(tmp_path, 3, seed=1)


@pytest.mark.soak
def test_twenty_kills_in_the_middle_of_promotions(tmp_path: Path) -> None:
    print(_killed(tmp_path, 20, seed=2))
