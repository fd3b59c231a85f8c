"""A program that is not there skips a test, and fails it where continuous integration runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import databases
from tests.studio.browsing import find_chromium

SET = "export ASSAY_TEST_SERVICES=1"


@pytest.mark.parametrize(
    ("promised", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
def test_what_is_promised_and_missing_fails(
    promised: str,
    outcome: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASSAY_TEST_SERVICES", promised)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(outcome, match="there is no chromium"):
        find_chromium()
    monkeypatch.setattr(databases, "POSTGRES", tmp_path)
    with pytest.raises(outcome, match="there is no PostgreSQL"):
        databases.postgres_binaries()


def test_continuous_integration_promises_them() -> None:
    steps = (Path(__file__).parent.parent / ".ci" / "run").read_text().splitlines()
    assert steps.index(SET) < steps.index("make test")
