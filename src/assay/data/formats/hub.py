"""A data set of the Hugging Face hub by name: `hf:org/name`, `hf:org/name:split`.

Needs the package `datasets` and a reachable hub; code that comes with a data set is never run.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from assay.data.formats.record import Raw
from assay.errors import DataError

PREFIX = "hf:"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class Address(NamedTuple):
    """A data set and one of its splits."""

    name: str
    split: str


def parse(address: str) -> Address:
    """Raises:
    DataError: it is not `hf:org/name` or `hf:org/name:split`.
    """
    name, _, split = address.removeprefix(PREFIX).partition(":")
    # What has another form, or lies here, the package `datasets` would read from this machine.
    if not _NAME.fullmatch(name) or os.path.lexists(name):
        raise DataError(
            "this is not the name of a data set.",
            where=address,
            fix="Write hf:org/name or hf:org/name:test.",
        )
    return Address(name, split or "train")


def read_rows(address: str) -> Iterator[Raw]:
    """The rows of the split as they stream in, numbered from 1.

    Raises:
        DataError: `datasets` is not installed, the hub cannot be reached, or it has no such data
            set or split.
    """
    name, split = parse(address)
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError:
        raise DataError(
            "reading from the Hugging Face hub needs the package datasets, which is not installed.",
            where=address,
            fix="Install it with `pip install datasets`, or download the file and use its path.",
        ) from None
    try:
        rows = datasets.load_dataset(name, split=split, streaming=True)
        for number, record in enumerate(rows, start=1):
            yield Raw(number, dict(record))
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        # Its own errors (DatasetNotFoundError, OfflineModeIsEnabled, HTTP errors) are of these.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"the data set cannot be read from the hub: {reason}",
            where=address,
            fix="Check its name, its splits and the connection, or download the file and "
            "use its path.",
        ) from None
