"""What a training does on a GPU, as far as a machine without one can tell."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from assay.config import FineTune
from assay.train.device import numbers_kept
from assay.train.loss import token_losses
from assay.train.optimizer import optimizer_of, set_state, state_of
from assay.train.selection import select_rows, sums_of_rows


@pytest.mark.parametrize("where", ["cpu", "cuda:1"])
def test_random_numbers_are_kept_of_the_models_device_and_no_other_gpu(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a machine with eight; each that is asked starts to work."""
    asked: list[object] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_rng_state", asked.append)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda _, gpu: asked.append(gpu))
    model = nn.Module()
    with FakeTensorMode():  # a tensor that holds no numbers, so its device need not be there
        model.weight = nn.Parameter(torch.empty(2, device=where))
    before = torch.get_rng_state()
    with numbers_kept(model):
        torch.rand(3)
    assert asked == ([] if where == "cpu" else [torch.device(where)] * 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("name", "count"), [("adamw", "meta"), ("adafactor", "cpu")])
def test_an_optimizers_state_goes_on_beside_the_weights(name: Any, count: str) -> None:
    """Beside those on "meta", which stands for a GPU; a fused AdamW has its count there, too."""
    settings = FineTune(optimizer=name)
    here = {"a": nn.Parameter(torch.ones(2, 3))}
    optimizer = optimizer_of(settings, here)
    here["a"].grad = torch.ones(2, 3)
    optimizer.step()
    there = {"a": nn.Parameter(torch.empty(2, 3, device="meta"))}
    again = optimizer_of(settings, there)
    set_state(again, there, state_of(optimizer, here))
    state = again.state[there["a"]]
    assert {*state} == {*optimizer.state[here["a"]]}
    assert state.pop("step").device.type == count
    assert [value.device.type for value in state.values()] == ["meta"] * 2


class _OnGpu(Tensor):
    """A tensor of the CPU that says it is on a GPU."""

    device = torch.device("cuda")
    is_cuda = True


@pytest.mark.parametrize(("kind", "asked"), [(Tensor, [128] * 17), (_OnGpu, [1024, 1024, 128])])
def test_a_gpu_is_given_more_positions_at_a_time(kind: type[Tensor], asked: list[int]) -> None:
    """A GPU multiplies 128 positions no faster than it reads the head."""
    found = []

    def head(hidden: Tensor) -> Tensor:
        found.append(len(hidden))
        return hidden

    token_losses(head, torch.randn(2176, 5).as_subclass(kind), torch.zeros(2176, dtype=torch.long))
    assert found == asked


class _Operations(TorchDispatchMode):
    """Keeps the names of those that are computed, of backward passes as well."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__.strip("_"))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("kind", "ordered", "disordered"),
    [(Tensor, "index_add", "index_put"), (_OnGpu, "index_put", "index_add")],
)
def test_rows_are_added_up_by_the_operation_that_keeps_an_order(
    kind: type[Tensor], ordered: str, disordered: str
) -> None:
    """Of its device: on CUDA `index_add` adds in any order, on a CPU `index_put` does."""
    where, numbers = torch.tensor([2, 0, 2, 2]), torch.tensor([1.0, 2.0, 4.0, 8.0])
    hidden = torch.arange(6.0).reshape(3, 2).requires_grad_()
    with _Operations() as selecting:
        chosen = select_rows(hidden.as_subclass(kind), where)
        (chosen.as_subclass(Tensor) * numbers[:, None]).sum().backward()
    assert chosen.tolist() == [[4, 5], [0, 1], [4, 5], [4, 5]]
    assert hidden.grad is not None
    assert hidden.grad.tolist() == [[2, 2], [0, 0], [13, 13]]
    with _Operations() as adding:
        sums = sums_of_rows(numbers.as_subclass(kind), where, 3)
    assert sums.tolist() == [2, 0, 13]
    for found in (selecting, adding):
        assert ordered in found.names
        assert disordered not in found.names
