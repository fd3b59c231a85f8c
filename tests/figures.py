"""Figures that tests measure, and where the docs keep them: the table of docs/security.md, and the
blocks of docs/statistics.md and docs/reinforcement.md that simulations and bench/ write.

    ASSAY_FIGURES=figures.jsonl python -m pytest -m soak tests/attacks
    python -m tests.figures figures.jsonl

`make soak` does both. A figure that was not measured again keeps its row. A simulation writes its
block itself, at once, so that a soak that is stopped has not run for nothing.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "security.md"
STATISTICS = PAGE.with_name("statistics.md")
HEADING = "## Figures"
HEAD = "| figure | measured | by |\n|---|---|---|\n"
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| `(tests/[^`]+)` \|$", re.MULTILINE)

Figure = Callable[[str, object], None]


def recorder(test: str) -> Figure:
    """A function that keeps a named figure of `test`, a file, where ASSAY_FIGURES says to."""

    def record(name: str, value: object) -> None:
        path = os.environ.get("ASSAY_FIGURES")
        if not path:
            return
        line = json.dumps({"name": name, "value": str(value), "test": test})
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    return record


def write_table(figures: Path, page: Path = PAGE) -> int:
    """Puts the figures of a JSON lines file into the page's table; how many there were."""
    text = page.read_text("utf-8")
    before, found, after = text.partition(HEADING)
    rows = {name: (value, test) for name, value, test in ROW.findall(after if found else "")}
    lines = figures.read_text("utf-8").splitlines() if figures.exists() else []
    for line in lines:
        one = json.loads(line)
        rows[one["name"]] = (one["value"], one["test"])
    table = "".join(f"| {name} | {value} | `{test}` |\n" for name, (value, test) in rows.items())
    intro = ROW.sub("", after).replace(HEAD, "").strip() if found else ""
    page.write_text(f"{before}{HEADING}\n\n{intro}\n\n{HEAD}{table}", "utf-8")
    return len(lines)


def soak_runs(usual: int) -> int:
    """How many comparisons a soak simulates: the share of the usual number that ASSAY_SOAK_SHARE
    names, at least 50."""
    return max(round(usual * float(os.environ.get("ASSAY_SOAK_SHARE", "1"))), 50)


def write_block(name: str, table: str, note: str, page: Path = STATISTICS) -> None:
    """Puts a table in the place of the one that the page has under this name.

    Args:
        table: lines of Markdown.
        note: a sentence on how it was counted, without its end.

    Raises:
        ValueError: the page has no such block, or more than one.
    """
    mark = f"<!-- (?:simulated|measured): {re.escape(name)} -->\n"
    block = re.compile(f"({mark}).*?(<!-- end -->)", re.DOTALL)
    written = f"{table.strip()}\n\n{note}.\n"
    text, count = block.subn(lambda old: old[1] + written + old[2], page.read_text("utf-8"))
    if count != 1:
        raise ValueError(f"{page.name} has {count} blocks that are called {name!r}, not one")
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    print(f"{write_table(Path(sys.argv[1]))} figures written to {PAGE.name}")
