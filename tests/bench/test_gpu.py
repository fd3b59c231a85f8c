"""The benchmark of training on a GPU, all of it that a CPU can run."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"

pytestmark = pytest.mark.slow


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's module, with the sides that are installed here."""
    monkeypatch.syspath_prepend(str(BENCH))
    import gpu

    peers = tuple(side for side in gpu.SIDES[1:] if find_spec(side) is not None)
    monkeypatch.setattr(gpu, "SIDES", ("assay", *peers))
    return gpu


def test_all_sides_train_the_tiny_model_on_the_same_rows(gpu: Any) -> None:
    size = gpu.QUICK
    machine, lines = gpu.measure("tiny", size, "none")
    assert machine["parameters"] > 2e6
    assert machine["limit_tokens_per_s"] > 0
    rows, row = size.answers, size.prompt + size.answer
    once = size.prompt + rows * size.answer
    for line in lines:
        assert line.why is None, line
        shared = line.work == "shared" and line.side == "assay"
        expected = once / (rows * row) if shared else 1.0
        assert line.computed_per_s / line.tokens_per_s == pytest.approx(expected, rel=1e-2)
        limit = machine["limit_tokens_per_s"]
        assert line.share_of_limit == pytest.approx(line.computed_per_s / limit, rel=0.1)
        assert line.peak_mb > 0
        # Before any update every token of a random model is about as probable as any other.
        assert line.first_loss == pytest.approx(math.log(32_000), abs=0.2)
        theirs = [other.first_loss for other in lines if other.work == line.work]
        assert theirs == pytest.approx([line.first_loss] * len(gpu.SIDES), abs=2e-2)
    assert [line.work for line in lines if line.side == "assay"] == ["shared", "unique"]


def test_a_side_that_cannot_run_is_told_with_the_reason(gpu: Any) -> None:
    job = gpu.Job("sft", [{"ids": [1, 2, 3], "trained": 1}], 1, model="no-such-model")
    outcome = gpu.run("assay", job)
    assert "no-such-model" in outcome["error"]
    line = gpu.line_of("tiny", "shared", "assay", gpu.QUICK, [outcome], 1.0)
    assert line.tokens_per_s is None
    assert f"not measured: {outcome['error']}" in str(line)
