"""Programs that tests talk to: PostgreSQL, HAProxy, chromium, and moto in `.venv-moto`."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where ASSAY_TEST_SERVICES says that all of them are there."""
    if os.environ.get("ASSAY_TEST_SERVICES"):
        pytest.fail(f"ASSAY_TEST_SERVICES is set, but there is {what}", pytrace=False)
    pytest.skip(f"there is {what}")
