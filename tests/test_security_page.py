"""docs/security.md names threats, defences and tests; the tests are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "security.md").read_text("utf-8").replace("\\|", "/").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| threat", "| figure"))
]


def test_each_threat_has_a_defence_and_a_test_that_is_there() -> None:
    assert len(ROWS) > 50
    for row in ROWS:
        assert len(row) == 3, row
        assert all(row), row
        named = re.findall(r"`(tests/[^`]+)`", row[2])
        assert named, row
        for name in named:
            assert (ROOT / name).exists(), name
            assert name.endswith("/") or "def test" in (ROOT / name).read_text("utf-8"), name
