"""Stand-ins of a provider's models are right as often as is stated, and wrong as models are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def account() -> Any:
    """The script's module; as scripts they find each other beside themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import rescue_account

        yield rescue_account


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
