"""Memory that may be counted on."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from assay.models import device
from assay.models.device import available_bytes


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("5000", 5000 - 3000 + 400), ("2000", 0), ("max", None), ("9" * 18, None)],
)
def test_a_container_has_what_its_limit_leaves(
    limit: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of files in memory do not count: they are given up when memory is short."""
    monkeypatch.setattr(device, "GROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 2600\ninactive_file 400\n")
    found = available_bytes(torch.device("cpu"))
    if expected is None:
        assert found == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    else:
        assert found == expected
