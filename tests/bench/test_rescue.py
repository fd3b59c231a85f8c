"""Stand-ins of a provider's models are right as often as is stated, and wrong as models are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def account(script: Any) -> Any:
    import rescue_account

    return rescue_account


@pytest.fixture(scope="module")
def script() -> Any:
    """The script's module; as scripts they find each other beside themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import rescue

        yield rescue


def test_stand_ins_err_at_the_stated_rate_in_ways_of_models(
    account: Any, data_folder: Path
) -> None:
    for job in account.JOBS:
        train, held = job.rows()
        asked = [row["messages"][:-1] for row in held]
        model = account.StandIn(job.model, [*train, *held])
        right = {account._key(row["messages"][:-1]): row["messages"][-1] for row in held}
        answers = {account._key(turns): model.answer(turns) for turns in asked}
        wrong = [key for key, said in answers.items() if said != right[key]]
        assert len(wrong) / len(answers) == pytest.approx(1 - account.RATE, abs=0.05)
        others = [message for row in train + held for message in row["messages"][-1:]]
        from_others = sum(answers[key] in others for key in wrong)
        assert 0.3 < from_others / len(wrong) < 0.8  # the rest is damaged
        again = account.StandIn(job.model, [*train, *held]).answer(asked[0])
        assert again == answers[account._key(asked[0])]


def test_rows_of_a_job_that_is_not_measured_anew_stay_and_are_marked(script: Any) -> None:
    rows = ["| snips | remote | 87.9 |", "| e2e-style | remote | 44.7 |", "| snips | router | 86 |"]
    table = "\n".join([script.CANDIDATES, "|---|---|---|---|---|", *rows])
    page = f"{table}\n\n{script.EFFORT}\n|---|\n| snips | 847 |\n\n"
    kept = script.earlier_rows(page, script.CANDIDATES, "snips")
    assert kept == ["| snips\\* | remote | 87.9 |", "| snips\\* | router | 86 |"]
    again = "\n".join([script.CANDIDATES, *kept])
    assert script.earlier_rows(again, script.CANDIDATES, "snips") == kept
    assert script.earlier_rows(page, script.SUMMARY, "snips") == []
