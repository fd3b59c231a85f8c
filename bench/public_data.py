"""Where the public data sets are: in ASSAY_TEST_DATA, else in ../shared/data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Rows = Iterator[dict[str, Any]]


def data_folder() -> Path:
    """Where the public data are."""
    named = os.environ.get("ASSAY_TEST_DATA")
    return Path(named) if named else Path(__file__).parents[2] / "shared" / "data"


def lines(*parts: str) -> Rows:
    """The objects of a JSON Lines file."""
    with data_folder().joinpath(*parts).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
