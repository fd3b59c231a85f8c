"""A program that is not there skips a test, and fails it where continuous integration runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import databases
from tests.studio.browsing import find_chromium

RUN = Path(__file__).parent.parent / ".ci" / "run"


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


@pytest.mark.parametrize("is_there", [True, False])
def test_continuous_integration_promises_what_is_there(is_there: bool, tmp_path: Path) -> None:
    """With a `make` that only says what it was told, and, or not, without anything to install."""
    (tmp_path / "make").write_text('#!/bin/sh\necho "promised: $ASSAY_TEST_SERVICES."\n')
    names = ["bash", "dirname", "id", "env", "ls"] + (["chromium", "haproxy"] if is_there else [])
    for name in names:
        program = shutil.which(name) or str(tmp_path / "make")
        (tmp_path / name).symlink_to(program)
    (tmp_path / "make").chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / "bash"), str(RUN)],
        env={"PATH": str(tmp_path), "ASSAY_TEST_DATA": "/"},
        capture_output=True,
        text=True,
        check=True,
    )
    has_all = is_there and bool(list(databases.POSTGRES.glob("*/bin/initdb")))
    assert done.stdout == f"promised: {1 if has_all else ''}.\n"
    assert ("Their tests are skipped." in done.stderr) != has_all
