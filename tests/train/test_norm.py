"""Compiled norms, as on CUDA; what can be seen of them on a CPU."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.generate.tiny import tiny_model
from tests.rounding import near, rounding
from tests.train.test_lora import outcome
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS, rows, rows_of_one_beginning, tiny_loaded, train
from torch import nn
from torch._dynamo import config as dynamo
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from assay.errors import ModelError
from assay.train import norm
from assay.train.adapters import weights_file
from assay.train.fused import fast

COMPILED = norm.compiled


def compile_here(patch: pytest.MonkeyPatch, backend: Any) -> None:
    """Norms are compiled on the CPU, by `backend`."""
    torch._dynamo.reset()
    these = COMPILED(backend)
    patch.setattr(norm, "COMPILED_ON", {"cpu"})
    patch.setattr(norm, "compiled", lambda: these)
    patch.setattr(norm, "_reasons", {})


def adapted() -> nn.Module:
    """Qwen3: norms of the stream, of heads and before the head."""
    model = tiny_model("qwen3").requires_grad_(False)
    model = get_peft_model(model, LoraConfig(r=3, target_modules="all-linear"))
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.data = torch.randn(parameter.shape) / 10
    return model


@pytest.mark.parametrize(
    ("dtype", "kinds"), [(torch.float32, 2), (torch.bfloat16, 6)]
)  # two widths; each from float32 to itself, and with bfloat16 to that and from it
def test_logits_and_gradients_are_those_of_the_operations(
    dtype: torch.dtype, kinds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted()

    def found(norms: norm.Norms) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        narrow = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
        with fast(model, dtype, norms), narrow:
            return outcome(model)

    wanted, theirs = found("operations")
    counter = CompileCounterWithBackend("aot_eager")
    compile_here(monkeypatch, counter)
    with dynamo.patch(recompile_limit=1):  # torch's own is not enough for large models
        assert norm.find_obstacle(model, str(dtype).removeprefix("torch.")) == ""
        assert counter.frame_count == 2 * kinds
        logits, ours = found("compiled")
    assert counter.frame_count == 2 * kinds
    torch.testing.assert_close(logits, wanted, **near(wanted, model, dtype))
    same = rounding(model, dtype, backward=True)
    for name, gradient in theirs.items():
        assert float((ours[name] - gradient).norm()) <= same * float(gradient.norm()), name


def test_one_graph_each_way_serves_a_training_that_computes_activations_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Passes of every length, over a shared prefix, forward, backward and in evaluations."""
    settings = SETTINGS.model_copy(update={"activation_checkpointing": "on"})
    of_rows = rows_of_one_beginning(40)

    def points(folder: str) -> Any:
        given = tiny_loaded(), of_rows, of_rows[:3], settings, tmp_path / folder
        return train(*given, compute="float32").points

    wanted = points("operations")
    counter = CompileCounterWithBackend("aot_eager")
    compile_here(monkeypatch, counter)
    for ours, theirs in zip(points("compiled"), wanted, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)
    assert counter.frame_count == 2


def test_a_norm_may_be_compiled_where_activations_are_computed_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a run that goes on: what is saved meanwhile is none of the layer's."""
    compile_here(monkeypatch, "aot_eager")
    x, weight, ones = torch.randn(5, 8), torch.randn(8, 8).requires_grad_(), torch.ones(8)
    found = []
    for compiled in (False, True):
        of = norm.RmsNorm(ones, ones, torch.tensor(1e-6), None, compiled)
        y = checkpoint(lambda w, of=of: of(x @ w), weight, use_reentrant=False)
        found.append(torch.autograd.grad((y**3).sum(), weight)[0])
    torch.testing.assert_close(*found)


def test_norms_of_too_many_kinds_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_here(monkeypatch, "eager")
    monkeypatch.setattr(norm, "GRAPHS", 1)
    with dynamo.patch(recompile_limit=1):
        for width in (3, 4):
            x, scale, eps = torch.randn(5, width), torch.ones(width), torch.tensor(1e-6)
            of = norm.RmsNorm(scale, scale, eps, None, compiled=True)
            monkeypatch.setitem(norm._reasons, (width, *[x.dtype] * 2, x.device, 1), "")
            if width == 3:
                of(x)
                continue
            with pytest.raises(ModelError, match="compiled for 1 kinds"):
                of(x)


def _fails(*_: Any) -> Any:
    raise RuntimeError("no compiler\nand more")


def _doubles(graph: Any, _: Any) -> Callable[..., Any]:
    """All but what is as long as the first sample."""
    return lambda *given: [(1 + (len(t) != norm.SAMPLES[0])) * t for t in graph(*given)]


def _finds_no_memory(*_: Any) -> Any:
    raise torch.OutOfMemoryError("of a moment")


def _trained(folder: Path, seed: int = 0, stop_after: int | None = None) -> tuple[bytes, list[str]]:
    """The weights after six steps, and what was said; stopped before, and no weights."""

    def stop(done: float) -> None:
        if done == stop_after:
            signal.raise_signal(signal.SIGINT)

    watcher = Watcher(stop)
    settings = SETTINGS.model_copy(update={"seed": seed})
    given = tiny_loaded(), rows(12), rows(3, 1), settings, folder
    try:
        result = train(*given, compute="float32", progress=watcher, checkpoint_seconds=1e9)
    except KeyboardInterrupt:
        return b"", watcher.lines
    return weights_file(result.adapter).read_bytes(), watcher.lines


@pytest.mark.parametrize(
    ("backend", "why"), [(_fails, "no compiler"), (_doubles, "give something else here")]
)
def test_each_training_says_what_cannot_be_compiled_and_is_computed_as_before(
    backend: Any, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted, lines = _trained(tmp_path / "operations")
    assert lines == []
    compile_here(monkeypatch, backend)
    assert _trained(tmp_path / "first")[0] == wanted
    assert _trained(tmp_path / "part", stop_after=3) == (b"", [ANY])
    compile_here(monkeypatch, "aot_eager")
    found, lines = _trained(tmp_path / "part")  # goes on as it began
    assert found == wanted
    assert "as when this training began" in lines[0]
    compile_here(monkeypatch, backend)
    for seed in (1, 2):
        (line,) = _trained(tmp_path / str(seed), seed)[1]
        assert why in line


@pytest.mark.parametrize("backend", [_fails, _finds_no_memory])
def test_compiled_norms_stay_compiled_or_the_training_is_refused(
    backend: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compile_here(monkeypatch, "aot_eager")
    whole = _trained(tmp_path / "whole")
    _trained(tmp_path / "part", stop_after=3)
    compile_here(monkeypatch, backend)
    with pytest.raises(ModelError, match=r"cannot be now: .*no compiler|ran out of memory"):
        _trained(tmp_path / "part")
    compile_here(monkeypatch, "aot_eager")
    assert _trained(tmp_path / "part")[0] == whole[0]


def test_want_of_memory_is_no_reason_to_compute_by_operations(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compile_here(monkeypatch, _finds_no_memory)
    with pytest.raises(ModelError, match="memory ran out"):
        _trained(tmp_path)
    counter = CompileCounterWithBackend("aot_eager")
    these = COMPILED(counter)
    monkeypatch.setattr(norm, "compiled", lambda: these)
    assert _trained(tmp_path)[1] == []
    assert counter.frame_count == 2
