"""Compiled norms, as on CUDA; what can be seen of them on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.generate.tiny import tiny_model
from tests.rounding import near, rounding
from tests.train.test_lora import outcome
from tests.train.tiny import SETTINGS, rows_of_one_beginning, tiny_loaded, train
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from assay.train import norm
from assay.train.fused import fast


def compile_here(patch: pytest.MonkeyPatch, backend: Any) -> None:
    """Norms are compiled on the CPU, by `backend`."""
    torch._dynamo.reset()
    these = norm.compiled(backend)
    patch.setattr(norm, "COMPILED_ON", {"cpu"})
    patch.setattr(norm, "compiled", lambda: these)
    patch.setattr(norm, "_usable", {})


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
    ("dtype", "kinds"), [(torch.float32, 2), (torch.bfloat16, 3)]
)  # widths; in bfloat16 the last norm gives float32 to the head
def test_logits_and_gradients_are_those_of_the_operations(
    dtype: torch.dtype, kinds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted()

    def found() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        narrow = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
        with fast(model, dtype, pytest.fail), narrow:
            return outcome(model)

    wanted, theirs = found()
    counter = CompileCounterWithBackend("aot_eager")
    compile_here(monkeypatch, counter)
    logits, ours = found()
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


def _fails(*_: Any) -> Any:
    raise RuntimeError("no compiler\nand more")


def _doubles(graph: Any, _: Any) -> Callable[..., Any]:
    return lambda *given: [2 * tensor for tensor in graph(*given)]


@pytest.mark.parametrize(
    ("backend", "why"), [(_fails, "no compiler"), (_doubles, "give something else here")]
)
def test_what_cannot_be_compiled_is_said_once_and_computed_as_before(
    backend: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted()
    with fast(model, torch.float32):
        wanted, theirs = outcome(model)
    compile_here(monkeypatch, backend)
    said: list[str] = []
    with fast(model, torch.float32, said.append):
        logits, ours = outcome(model)
    assert torch.equal(logits, wanted)
    assert all(torch.equal(ours[name], gradient) for name, gradient in theirs.items())
    (line,) = said
    assert why in line
