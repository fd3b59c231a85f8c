"""A linear map and its LoRA update as one function: fewer copies, fewer passes over memory.

PEFT computes y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ as separate operations, each with its own casts and saved
tensors. Here both products are one function with its gradient written out; W in the number format
of the multiplication is made once a run instead of once a pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class _LoraLinear(torch.autograd.Function):
    """Letters: N tokens, I inputs, O outputs, R rank."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_oi: Tensor,
        bias_o: Tensor | None,
        a_ri: Tensor,
        b_or: Tensor,
        scale: float,
    ) -> Tensor:
        dtype = weight_oi.dtype
        x_ni = x.reshape(-1, x.shape[-1]).to(dtype)
        a_ri, b_or = a_ri.to(dtype), b_or.to(dtype)
        u_nr = x_ni @ a_ri.T
        if bias_o is None:
            y_no = x_ni @ weight_oi.T
        else:
            y_no = torch.addmm(bias_o, x_ni, weight_oi.T)
        y_no.addmm_(u_nr, b_or.T, alpha=scale)
        ctx.save_for_backward(x_ni, weight_oi, a_ri, b_or, u_nr)
        ctx.scale, ctx.shape, ctx.dtype = scale, x.shape, x.dtype
        return y_no.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x_ni, weight_oi, a_ri, b_or, u_nr = ctx.saved_tensors
        g_no = grad.reshape(-1, grad.shape[-1]).to(weight_oi.dtype)
        g_nr = (g_no @ b_or).mul_(ctx.scale)
        d_b = (g_no.T @ u_nr).float().mul_(ctx.scale)
        d_a = (g_nr.T @ x_ni).float()
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = (g_no @ weight_oi).addmm_(g_nr, a_ri).view(ctx.shape).to(ctx.dtype)
        return d_x, None, None, d_a, d_b, None


class LoraMap(NamedTuple):
    """A plain LoRA layer: y = x·Wᵀ + bias + scale · (x·Aᵀ)·Bᵀ; W and bias in the format of the
    products, A and B as they are trained."""

    module: Any
    weight_oi: Tensor
    bias_o: Tensor | None
    a_ri: Tensor
    b_or: Tensor
    scale: float

    @classmethod
    def of(cls, module: Any, dtype: torch.dtype) -> LoraMap:
        """Of a module for which `is_plain` holds."""
        (name,) = module.active_adapters
        base = module.get_base_layer()
        return cls(
            module,
            base.weight.detach().to(dtype),
            None if base.bias is None else base.bias.detach().to(dtype),
            module.lora_A[name].weight,
            module.lora_B[name].weight,
            module.scaling[name],
        )

    def forward(self, x: Tensor) -> Tensor:
        """What PEFT's own `forward` returns."""
        if self.module.disable_adapters:
            result: Tensor = self.module.base_layer(x)
            return result
        out: Tensor = _LoraLinear.apply(x, *self[1:])  # type: ignore[no-untyped-call]
        return out


def is_plain(module: Any) -> bool:
    """Whether a module is a linear map with one LoRA update and nothing else."""
    from peft.tuners.lora import Linear

    if type(module) is not Linear or len(module.active_adapters) != 1:
        return False
    name = module.active_adapters[0]
    return (
        type(module.get_base_layer()) is nn.Linear
        and name in module.lora_A
        and isinstance(module.lora_dropout[name], nn.Identity)
        and not module.use_dora.get(name, False)
        and not module.lora_variant
        and module.lora_B[name].bias is None
        and not module.merged
    )
