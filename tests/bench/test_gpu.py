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
    noted: list[Any] = []
    machine, lines = gpu.measure("tiny", size, "none", lambda *found: noted.append(found))
    assert noted[-1] == (machine, lines)
    assert len(noted) == len(lines)
    assert [line.why for line in noted[0][1]][1:] == ["nothing was run"] * (len(gpu.SIDES) - 1)
    assert all(line.comparable and line.steps == line.asked for line in lines)
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


OUTCOME = {
    "what": "one way",
    "step_s": [2.0, 1.0, 1.0],
    "tokens": [100, 100, 100],
    "losses": [2.0, 1.9, 1.8],
    "peak_mb": 1.0,
    "computed": None,
}


def line_of(gpu: Any, side: str, outcome: dict[str, Any]) -> Any:
    """By a size of one step before two that are counted, on a machine of 1000 tokens/s."""
    return gpu.line_of("tiny", "shared", side, gpu.QUICK, [outcome], 1000.0)


@pytest.mark.parametrize(
    ("printed", "failure", "why"),
    [
        ([], "  no-such-model\n", "no-such-model"),
        ([], "", "it printed no result"),
        ([OUTCOME | {"tokens": []}], "", "times of 3, tokens of 0, losses of 3 steps"),
        ([{name: OUTCOME[name][:0] for name in ("step_s", "tokens", "losses")}], "", "times of 0"),
        (
            [{name: of[:1] if isinstance(of, list) else of for name, of in OUTCOME.items()}],
            "",
            "1 steps filled its time",
        ),
    ],
)
def test_a_side_that_gives_no_figure_is_told_with_the_reason(
    gpu: Any, printed: Any, failure: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "ask", lambda *_: (printed, failure))
    line = line_of(gpu, "assay", gpu.run("assay", gpu.Job("sft", [], 1)))
    assert line.tokens_per_s is None
    assert f"not measured: {line.why}" in str(line)
    assert why in line.why


def test_lines_tell_fewer_steps_and_another_first_loss(gpu: Any) -> None:
    short = {name: of[:2] if isinstance(of, list) else of for name, of in OUTCOME.items()}
    lines = gpu.compared(
        [
            line_of(gpu, "assay", {"error": "none"}),
            line_of(gpu, "trl", OUTCOME),
            line_of(gpu, "unsloth", short | {"losses": [2.1, 1.9]}),
            line_of(gpu, "other", OUTCOME | {"losses": [2.01, 1.9, 1.8]}),
        ]
    )
    assert [line.comparable for line in lines] == [True, True, False, True]
    assert "steps" not in str(lines[1])
    assert "only 1 of 2 steps; NOT COMPARABLE, its first loss is 0.1000 apart" in str(lines[2])


def test_results_are_found_among_what_else_is_printed(gpu: Any) -> None:
    out = 'a banner\n7\n{"what": "one"}\n\n{"what": "cut'
    assert gpu.outcomes_in(out) == [{"what": "one"}]
