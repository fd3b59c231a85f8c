"""The leaderboard's rows as a job: right answers survive it, functions are new to who is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.candidates.registry import specs, taking_part
from assay.example import Example
from assay.progress import SILENT

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script's module; as scripts they find each other beside themselves."""
    monkeypatch.syspath_prepend(str(BENCH))
    import verdicts

    return verdicts


def test_rows_of_the_leaderboard_become_a_job_without_training(
    verdicts: Any, data_folder: Path, tmp_path: Path
) -> None:
    import calls

    made = verdicts.make("bfcl", tmp_path, SILENT)
    part = taking_part(made.config)
    assert {"prompt", "few-shot", "few-shot-nearest", "nearest-answer"} <= set(part)
    assert not [name for name in part if specs()[name].family == "training"]

    about = made.split(SILENT)
    assert (about.task, about.rows, about.rejected) == ("tools", 1040, 2)
    assert about.train == 100
    assert 200 <= about.holdout <= 300

    context = made.context()
    known, asked = ({about_of(row) for row in part} for part in (context.train, context.validation))
    assert not known & asked
    rows = (*context.train, *context.validation)
    assert {row.id.rpartition("_")[0] for row in rows} == {*calls.SETS, calls.IRRELEVANCE}
    for row in rows:
        if row.target.tool_calls:
            for kind, answer in calls.reworded(row).items():
                assert calls.ours(row, answer), (row.id, kind)
        else:
            assert calls.ours(row, []), row.id
            assert not calls.ours(row, [{about_of(row): {}}]), row.id


def about_of(row: Example) -> str:
    """The function that is asked for, or the one that does not fit."""
    called = [call.name for call in row.target.tool_calls]
    return called[0] if called else str(row.tools[0]["function"]["name"])
