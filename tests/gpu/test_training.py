"""Training on a GPU against the same on the CPU. Skipped, and counted, where there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.prefix.test_flex import LENGTHS, pack_of
from tests.train.test_waiting import units_by
from tests.train.tiny import (
    SETTINGS,
    rows,
    rows_of_one_beginning,
    tiny_loaded,
    tiny_model,
    train,
)
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._inductor import config as inductor
from torch._inductor import metrics

from assay.config.training import FineTune
from assay.prefix import flex
from assay.prefix.training import pack_attention
from assay.train import adapters, norm
from assay.train.methods import registry
from assay.train.sequences import TrainingSequence
from assay.train.session import TrainResult
from assay.train.step import step

DEVICE = "cuda"
WIDE: dict[str, Any] = {"head_dim": 16, "vocab_size": 256}  # flex_attention has no smaller heads

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest of the relative distances of tensors of one name."""
    assert set(ours) == set(theirs)
    return max(float((ours[n].cpu() - t).norm() / t.norm()) for n, t in theirs.items())


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
@pytest.mark.parametrize("tokens", [4096, 200])  # in one pass; over a trunk
def test_a_step_is_that_of_the_cpu(tokens: int, method: str) -> None:
    units = units_by(method)
    objective_of = registry.find(method).objective_of(FineTune(method=method), units)
    found = {}
    for device in ("cpu", DEVICE):
        model = tiny_model(**WIDE).to(device)
        objective = objective_of(model, units) if objective_of else None
        loss, trained = step(model, units, objective, tokens)
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found[device] = loss, trained, gradients
    (loss, trained, theirs), ours = found["cpu"], found[DEVICE]
    assert ours[0] == pytest.approx(loss, rel=1e-5)
    assert ours[1] == trained
    assert distance(ours[2], theirs) < 1e-4


def tuned(device: str, folder: Path, of_rows: list[TrainingSequence], **named: Any) -> TrainResult:
    """Two epochs of ten steps in float32."""
    loaded = tiny_loaded(**WIDE)
    loaded.model.to(device)
    settings = SETTINGS.model_copy(update={"rows_per_step": len(of_rows) // 10})
    named = {"compute": "float32", "checkpoint_seconds": 1e9, **named}
    return train(loaded, of_rows, rows(8, 1), settings, folder, **named)


def test_twenty_steps_are_those_of_the_cpu(tmp_path: Path) -> None:
    theirs, ours = (tuned(device, tmp_path / device, rows(40)) for device in ("cpu", DEVICE))
    assert ours.steps == theirs.steps == 20
    for own, other in zip(ours.points, theirs.points, strict=True):
        assert own.train_loss == pytest.approx(other.train_loss, rel=1e-3)
    weights = [load_file(adapters.weights_file(result.adapter)) for result in (ours, theirs)]
    assert distance(*weights) < 1e-2  # AdamW makes steps of one size from gradients of any


RESUME = """
import sys
from pathlib import Path
from tests.gpu.test_training import tuned
from tests.train.tiny import rows_of_one_beginning

tuned(sys.argv[1], Path(sys.argv[2]), rows_of_one_beginning(240))
"""


def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """In another process, which compiles for itself, though 24 rows of each step give gradients
    to the same states, which a GPU may add up in any order."""
    of_rows = rows_of_one_beginning(240)

    def stop(report: Any) -> None:
        if report.step == 7:
            signal.raise_signal(signal.SIGINT)

    whole = tuned(DEVICE, tmp_path / "whole", of_rows)
    with pytest.raises(KeyboardInterrupt):
        tuned(DEVICE, tmp_path / "part", of_rows, on_step=stop)
    caches = {f"{name}_CACHE_DIR": str(tmp_path / name) for name in ("TORCHINDUCTOR", "TRITON")}
    subprocess.run(
        [sys.executable, "-P", "-c", RESUME, DEVICE, str(tmp_path / "part")],
        env={**os.environ, **caches, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    part = tuned(DEVICE, tmp_path / "part", of_rows, on_step=pytest.fail)  # which is done
    first, second = (adapters.weights_file(result.adapter) for result in (whole, part))
    assert first.read_bytes() == second.read_bytes()
    assert part.points == whole.points


@pytest.mark.parametrize("softcap", [None, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_graph_serves_ragged_packs_forward_and_backward(
    softcap: float | None, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the products of the CPU in float32."""
    torch.manual_seed(0)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("inductor")
    compiled = flex.compiled(counter)
    monkeypatch.setattr(flex, "compiled", lambda: compiled)
    module: Any = nn.Module()
    module.layer_idx = 0
    near = 1e-4 if dtype == torch.float32 else 3e-2
    for i, lengths in enumerate(LENGTHS):
        start, window = (0, 150, 12)[i % 3], (None, 64)[i % 2]
        of_rows = [torch.randint(300, (length,)).tolist() for length in lengths]
        count = len(pack_of(of_rows, 0).ids)
        given = [torch.randn(1, count, heads, 16) for heads in (6, 2, 2)]
        before = [torch.randn(1, 2, start, 16) for _ in range(2)]
        weight = torch.randn(1, count, 6, 16)
        found = []
        for device, format in (("cpu", torch.float32), (DEVICE, dtype)):
            pack = pack_of(of_rows, start, device=torch.device(device))
            leaves = [t.to(device, format).requires_grad_() for t in given]
            query, key, value = (t.transpose(1, 2) for t in leaves)
            if pack.trunk is not None:
                pack.trunk._given[0] = tuple(t.to(device) for t in before)  # type: ignore[assignment]
            out, _ = pack_attention(
                module,
                query,
                key,
                value,
                None,
                pack=pack,
                scaling=0.25,
                sliding_window=window,
                softcap=softcap,
            )
            out.backward(weight.to(out))
            tensors = [out.detach(), *(t.grad for t in leaves)]
            found.append({str(n): t.float() for n, t in enumerate(tensors) if t is not None})
        assert distance(found[1], found[0]) < near, (lengths, start, window)
    assert counter.frame_count == 1


@pytest.mark.parametrize("width", [64, 576, 4096])
@pytest.mark.parametrize(
    ("of_input", "of_output"),
    [
        (torch.float32, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.bfloat16, torch.bfloat16),
    ],
)
def test_a_norm_is_one_kernel_each_way_for_all_lengths(
    of_input: torch.dtype, of_output: torch.dtype, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the operations on the CPU; a gradient that is a part of another one included."""
    torch.manual_seed(0)
    torch._dynamo.reset()
    metrics.reset()
    counter = CompileCounterWithBackend("inductor")
    compiled = norm.compiled(counter)
    monkeypatch.setattr(norm, "compiled", lambda: compiled)
    monkeypatch.setattr(norm, "_reasons", {})
    scale, eps = torch.linspace(-2.0, 3.0, width), torch.tensor(1e-6)
    near = 1e-5 if of_output == torch.float32 else 2e-2
    with inductor.patch(force_disable_caches=True):  # what comes from a cache is not counted
        for tokens in (300, 2, 1, 2048, 777, 5000):
            given, weight = torch.randn(tokens, width), torch.randn(tokens + 3, width)
            found = []
            for device in ("cpu", DEVICE):
                tensors = [t.to(device) for t in (scale, scale.reciprocal(), eps)]
                of = norm.RmsNorm(*tensors, of_output, compiled=True)
                x = given.to(device, of_input)[None].requires_grad_()
                y = of(x)
                both = torch.cat([y.new_zeros(1, 3, width), y], 1)
                both.backward(weight.to(both)[None])
                assert x.grad is not None
                found.append({"y": y.detach().float(), "x": x.grad.float()})
            assert distance(found[1], found[0]) < near, tokens
    assert counter.frame_count == 2
    assert metrics.generated_kernel_count == 2
