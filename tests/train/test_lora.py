"""The fused LoRA function against PEFT's own layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.rounding import near, rounding
from tests.train.tiny import tiny_model

from assay.train.fused import fast

IDS = torch.randint(3, 90, (2, 9), generator=torch.Generator().manual_seed(0))


def adapted(*, bias: bool = False, **changes: Any) -> Any:
    config = LoraConfig(
        r=4, lora_alpha=12, target_modules="all-linear", task_type="CAUSAL_LM", **changes
    )
    model = get_peft_model(tiny_model(attention_bias=bias, mlp_bias=bias), config)
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or name.endswith("bias"):
            parameter.data = 0.1 * torch.randn_like(parameter)
    return model.train()


def outcome(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad(set_to_none=True)
    logits = model(input_ids=IDS).logits
    logits.float().square().sum().backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), found


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_logits_and_gradients_equal_those_of_peft(bias: bool, rank_stabilised: bool) -> None:
    model = adapted(bias=bias, use_rslora=rank_stabilised)
    wanted, theirs = outcome(model)
    with fast(model, torch.float32) as changed:
        assert changed == 14
        logits, ours = outcome(model)
    torch.testing.assert_close(logits, wanted, **near(wanted, model))
    assert set(ours) == set(theirs)
    same = rounding(model, backward=True)
    for name, gradient in theirs.items():
        assert float((ours[name] - gradient).norm()) <= same * float(gradient.norm()), name


def test_bfloat16_is_as_near_as_peft_and_the_gradients_stay_float32() -> None:
    model = adapted()
    _, exact = outcome(model)
    with torch.autocast("cpu", torch.bfloat16):
        _, theirs = outcome(model)
        with fast(model, torch.bfloat16):
            _, ours = outcome(model)

    def distance(found: dict[str, torch.Tensor]) -> float:
        return sum(float((found[n] - exact[n]).norm() / exact[n].norm()) for n in exact)

    assert all(gradient.dtype == torch.float32 for gradient in ours.values())
    assert 0 < distance(ours) <= 1.5 * distance(theirs)


@pytest.mark.parametrize("changes", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_other_layers_stay_as_peft_has_them(changes: dict[str, Any]) -> None:
    with fast(adapted(**changes), torch.float32) as changed:
        assert changed == 0


def test_the_adapter_can_be_switched_off_and_the_layers_come_back() -> None:
    model = adapted()
    with torch.no_grad(), model.disable_adapter():
        base = model(input_ids=IDS).logits
    with fast(model, torch.float32), torch.no_grad(), model.disable_adapter():
        torch.testing.assert_close(model(input_ids=IDS).logits, base, **near(base, model))
    assert not any("forward" in vars(module) for module in model.modules())
