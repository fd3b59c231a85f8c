"""What the benchmark of calls gives both checkers: right answers are right, damaged ones are not.

The leaderboard's own checker is asked by the script itself; docs/tools.md has what it says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def calls() -> Any:
    """The script's module; as scripts they find each other beside themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import calls

        yield calls


@pytest.mark.parametrize("name", ["simple_python", "multiple", "parallel"])
def test_every_right_answer_is_right_and_every_damaged_one_is_not(
    calls: Any, data_folder: Path, name: str
) -> None:
    judged = 0
    for _, _, example in calls.rows_of(name):
        for kind, answer in calls.damage(example).items():
            assert calls.ours(example, answer) is (kind == "right"), (example.id, kind)
        for kind, answer in calls.reworded(example).items():
            assert calls.ours(example, answer), (example.id, kind)
        judged += 1
    assert judged >= 200
