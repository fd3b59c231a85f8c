"""The tiny model, once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.jobs.tiny_tuning import write_cache


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the tiny model in it."""
    return write_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def _tiny(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are looked for there."""
    monkeypatch.setenv("ASSAY_CACHE", str(cache))
