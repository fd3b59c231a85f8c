"""docs/compat.md is of the clients that the suite has, as `make compat` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.compat.__main__ import ENVIRONMENTS
from tests.compat.checks import NAMES
from tests.compat.table import Client, Finding, page

ROOT = Path(__file__).parents[1]


def test_every_client_is_on_the_page_at_the_version_that_is_pinned() -> None:
    text = (ROOT / "docs" / "compat.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| ([a-z-]+) (\d\S+?)(?:,[^|]*)? \|", text, re.MULTILINE))
    pins: dict[str, str] = {}
    for file in (ROOT / "tests" / "compat" / "requirements").glob("*.txt"):
        assert file.stem in ENVIRONMENTS.values()
        found = dict(
            re.findall(r"^([a-z-]+)(?:\[\w+\])?==([^ \n]+)", file.read_text(), re.MULTILINE)
        )
        pins.update(
            {
                "openai": max(found["openai"], pins.get("openai", "")),
                **{name: pin for name, pin in found.items() if name != "openai"},
            }
        )
    assert len(rows) == len(ENVIRONMENTS)
    assert rows == {name: pins[name] for name in rows}


def test_a_page_says_what_does_not_work_and_why() -> None:
    found = (
        Finding("chat", None),
        Finding("tools", None, "set x"),
        Finding("files", "TypeError: a\nb"),
    )
    text = page([Client("some", "1.0", "3.0", found)])
    [row] = [line for line in text.splitlines() if line.startswith("| some 1.0, openai 3.0 |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
    assert dict(zip(NAMES, cells, strict=True)) | {"chat": "yes", "tools": "yes (1)"} == {
        **dict.fromkeys(NAMES, ""),
        "chat": "yes",
        "tools": "yes (1)",
        "files": "**no** (2)",
    }
    assert "\n2. TypeError: a b\n" in text
