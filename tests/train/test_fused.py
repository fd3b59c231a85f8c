"""Norms and feed-forwards as one function: recognised by what they compute, and equal to it."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.generate.tiny import FAMILIES, tiny_model
from tests.rounding import near, rounding
from tests.train.test_lora import IDS, adapted, outcome
from torch import Tensor, nn
from torch.nn import functional

from assay.train.fused import fast


def changed(model: nn.Module, ending: str) -> int:
    return sum("forward" in vars(m) and type(m).__name__.endswith(ending) for m in model.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_norm_of_every_family_is_recognised(family: str) -> None:
    model = tiny_model(family).requires_grad_(False)
    norms = sum(type(m).__name__.endswith("RMSNorm") for m in model.modules())
    with fast(model, torch.float32):
        assert changed(model, "RMSNorm") == norms > 0


@pytest.mark.parametrize("bias", [False, True])
def test_logits_and_gradients_equal_those_of_the_model(bias: bool) -> None:
    model = adapted(bias=bias)
    wanted, theirs = outcome(model)
    with fast(model, torch.float32):
        assert changed(model, "MLP") == 2
        assert changed(model, "RMSNorm") == 5
        logits, ours = outcome(model)
    torch.testing.assert_close(logits, wanted, **near(wanted, model))
    same = rounding(model, backward=True)
    for name, gradient in theirs.items():
        assert float((ours[name] - gradient).norm()) <= same * float(gradient.norm()), name


@pytest.mark.parametrize("capped", [False, True])
def test_a_norm_that_does_something_else_stays_as_it_is(capped: bool) -> None:
    class OddRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8), requires_grad=False)
            self.eps = 1e-6

        def forward(self, x: Tensor) -> Tensor:
            y = functional.rms_norm(x, (8,), self.weight, self.eps)
            return y.clamp(max=0.5) if capped else y

    model = nn.Sequential(OddRMSNorm())
    with fast(model, torch.float32):
        assert changed(model, "RMSNorm") == (0 if capped else 1)


def test_a_norm_that_is_trained_or_has_a_zero_stays_as_it_is() -> None:
    trained, zero = nn.RMSNorm(8, eps=1e-6), nn.RMSNorm(8, eps=1e-6).requires_grad_(False)
    zero.weight[3] = 0.0
    with fast(nn.Sequential(trained, zero), torch.float32):
        assert "forward" not in vars(trained)
        # Seen as Gemma's kind, 1 + weight, it would compute something else.
        assert "forward" not in vars(zero)


@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_a_feed_forward_with_another_activation_stays_as_it_is(act: str) -> None:
    model = adapted()
    for module in model.modules():
        if type(module).__name__.endswith("MLP"):
            module.act_fn = {"relu": nn.ReLU(), "gelu": nn.GELU()}[act]
    wanted, _ = outcome(model)
    with fast(model, torch.float32):
        assert changed(model, "MLP") == 0
        torch.testing.assert_close(outcome(model)[0], wanted, **near(wanted, model))


def test_what_is_kept_for_the_backward_pass_is_less() -> None:
    def kept(model: nn.Module) -> int:
        seen: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            model(input_ids=IDS.repeat(1, 40))
        return sum(seen.values())

    model = adapted()
    plain = kept(model)
    with fast(model, torch.float32):
        assert kept(model) < 0.8 * plain


@pytest.mark.parametrize("trained", [False, True])
def test_a_head_that_is_not_trained_is_cast_once(trained: bool) -> None:
    model = adapted()
    head = model.get_output_embeddings()
    head.weight.requires_grad_(trained)
    with torch.autocast("cpu", torch.bfloat16):
        with fast(model, torch.bfloat16):
            assert ("forward" in vars(head)) is not trained
            hidden = torch.randn(5, model.config.hidden_size)
            ours = head(hidden)
        assert torch.equal(ours, head(hidden))
    assert "forward" not in vars(head)


@pytest.mark.parametrize("exact", [True, False])
def test_a_frozen_weight_that_bfloat16_holds_is_there_once(exact: bool) -> None:
    model = adapted()
    maps = [m.get_base_layer() for m in model.modules() if hasattr(m, "get_base_layer")]
    layers = [m for m in maps if isinstance(m, nn.Linear)]
    for layer in layers:
        if exact:
            layer.weight.data = layer.weight.data.bfloat16().float()
    before = [layer.weight.detach().clone() for layer in layers]
    with fast(model, torch.bfloat16), torch.autocast("cpu", torch.bfloat16):
        kept = {layer.weight.dtype for layer in layers}
        assert kept == {torch.bfloat16 if exact else torch.float32}
        outcome(model)
        with model.disable_adapter():
            outcome_of_base = model(input_ids=IDS).logits
    assert outcome_of_base.isfinite().all()
    for layer, weight in zip(layers, before, strict=True):
        torch.testing.assert_close(layer.weight, weight, rtol=0, atol=0)  # the type, too
    with fast(model, torch.float32):  # nothing to gain
        assert {layer.weight.dtype for layer in layers} == {torch.float32}


def test_weights_come_back_after_an_error() -> None:
    model = adapted()
    layer = next(m.get_base_layer() for m in model.modules() if hasattr(m, "get_base_layer"))
    layer.weight.data = layer.weight.data.bfloat16().float()
    before = layer.weight.detach().clone()
    with pytest.raises(RuntimeError), fast(model, torch.bfloat16):
        raise RuntimeError
    assert torch.equal(layer.weight, before)
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_in_bfloat16_computes_what_it_does_in_float32_and_stays_as_small(
    family: str,
) -> None:
    """The same bits, as in a float32 copy, whose maps `fast` keeps in bfloat16."""
    found = []
    for dtype in (torch.bfloat16, torch.float32):
        model = tiny_model(family).bfloat16().to(dtype)
        model = get_peft_model(model, LoraConfig(r=3, target_modules="all-linear"))
        torch.manual_seed(0)
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.data = torch.randn(parameter.shape) / 10
        base = [p for name, p in model.named_parameters() if ".lora_" not in name]
        before = [p.detach().clone() for p in base]
        with fast(model, torch.bfloat16), torch.autocast("cpu", torch.bfloat16):
            maps = sum(p.dtype == torch.bfloat16 for p in base)
            found.append((*outcome(model), maps))
        for parameter, weight in zip(base, before, strict=True):
            torch.testing.assert_close(parameter.detach(), weight, rtol=0, atol=0)
    (narrow, narrow_gradients, narrow_maps), (wide, wide_gradients, wide_maps) = found
    assert narrow_maps >= wide_maps > 0
    assert torch.equal(narrow, wide)
    for name, gradient in wide_gradients.items():
        assert torch.equal(narrow_gradients[name], gradient), name
