"""A linear map and its LoRA update as one function: fewer copies, fewer passes over memory.

PEFT computes y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ as separate operations, each with its own casts and saved
tensors. Here both products are one function with its gradient written out; W in the number format
of the multiplication is made once a run instead of once a pass. A W in 4 bits is made dense for
each product, and for its gradient again.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from assay.models.quantization import QuantizedWeight, is_quantized

Weight = Tensor | QuantizedWeight


def dense(weight: Weight) -> Tensor:
    """The weight [O, I] to multiply by."""
    return weight.dense() if isinstance(weight, QuantizedWeight) else weight


class Factors(NamedTuple):
    """What a plain LoRA layer computes with: y = x·Wᵀ + bias + scale · (x·Aᵀ)·Bᵀ.

    Letters: N tokens, I inputs, O outputs, R rank.
    """

    weight_oi: Weight
    bias_o: Tensor | None
    a_ri: Tensor
    b_or: Tensor
    scale: float

    def cast(self) -> Factors:
        """A and B in the format of W."""
        dtype = self.weight_oi.dtype
        return self._replace(a_ri=self.a_ri.to(dtype), b_or=self.b_or.to(dtype))

    def product(self, x_ni: Tensor) -> tuple[Tensor, Tensor]:
        """The output [N, O], and x·Aᵀ [N, R], which `gradients` wants back."""
        u_nr, weight_oi = x_ni @ self.a_ri.T, dense(self.weight_oi)
        if self.bias_o is None:
            y_no = x_ni @ weight_oi.T
        else:
            y_no = torch.addmm(self.bias_o, x_ni, weight_oi.T)
        return y_no.addmm_(u_nr, self.b_or.T, alpha=self.scale), u_nr

    def gradients(self, g_no: Tensor, x_ni: Tensor, u_nr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the output's gradient: g·B times scale [N, R], and the gradients of A and B."""
        g_nr = (g_no @ self.b_or).mul_(self.scale)
        d_b = (u_nr.T @ g_no).T.contiguous()  # twice as fast as g.T @ u
        return g_nr, (g_nr.T @ x_ni).float(), d_b.float().mul_(self.scale)

    def to_input(self, g_no: Tensor, g_nr: Tensor, into: Tensor | None = None) -> Tensor:
        """The gradient of the input [N, I], added to `into`."""
        weight_oi = dense(self.weight_oi)
        d_x = g_no @ weight_oi if into is None else into.addmm_(g_no, weight_oi)
        return d_x.addmm_(g_nr, self.a_ri)


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Any) -> Tensor:
        of = Factors(*given).cast()
        x_ni = x.reshape(-1, x.shape[-1]).to(of.weight_oi.dtype)
        y_no, u_nr = of.product(x_ni)
        ctx.save_for_backward(x_ni, u_nr, of.a_ri, of.b_or)
        ctx.frozen = of.weight_oi, of.scale
        ctx.shape, ctx.dtype = x.shape, x.dtype
        return y_no.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x_ni, u_nr, a_ri, b_or = ctx.saved_tensors
        weight_oi, scale = ctx.frozen
        of = Factors(weight_oi, None, a_ri, b_or, scale)
        g_no = grad.reshape(-1, grad.shape[-1]).to(weight_oi.dtype)
        g_nr, d_a, d_b = of.gradients(g_no, x_ni, u_nr)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = of.to_input(g_no, g_nr).view(ctx.shape).to(ctx.dtype)
        return d_x, None, None, d_a, d_b, None


class LoraMap(NamedTuple):
    """A plain LoRA layer; W and bias in the format of the products, A and B as they are trained."""

    module: Any
    factors: Factors

    @classmethod
    def of(cls, module: Any, dtype: torch.dtype) -> LoraMap:
        """Of a module for which `is_plain` holds."""
        (name,) = module.active_adapters
        base = module.get_base_layer()
        quantized = is_quantized(base)
        factors = Factors(
            QuantizedWeight.of(base, dtype) if quantized else base.weight.detach().to(dtype),
            None if base.bias is None else base.bias.detach().to(dtype),
            module.lora_A[name].weight,
            module.lora_B[name].weight,
            module.scaling[name],
        )
        return cls(module, factors)

    @property
    def weight(self) -> nn.Parameter:
        """The frozen one, as the module has it."""
        found: nn.Parameter = self.module.get_base_layer().weight
        return found

    @property
    def like_input(self) -> Tensor:
        """A tensor on the device and in the format of what the module takes."""
        return self.factors.a_ri if is_quantized(self.module.get_base_layer()) else self.weight

    def keep_once(self) -> bool:
        """Let the module share our W where that is its own to the last bit, and tell whether.

        The module's is given up for ours, not only seen through it: what it takes is then free.
        """
        own, ours = self.weight, self.factors.weight_oi
        if isinstance(ours, QuantizedWeight):
            return False  # it is the module's already
        if own.dtype == ours.dtype or not torch.equal(ours.to(own.dtype), own):
            return False
        own.data = ours
        return True

    def forward(self, x: Tensor) -> Tensor:
        """What PEFT's own `forward` returns."""
        if self.module.disable_adapters:
            result: Tensor = self.module.base_layer(x)
            return result
        out: Tensor = _LoraLinear.apply(x, *self.factors)  # type: ignore[no-untyped-call]
        return out


def is_plain(module: Any) -> bool:
    """Whether a module is a linear map with one LoRA update and nothing else."""
    if type(module) not in _kinds() or len(module.active_adapters) != 1:
        return False
    name = module.active_adapters[0]
    return (
        type(module.get_base_layer()) is _kinds()[type(module)]
        and name in module.lora_A
        and isinstance(module.lora_dropout[name], nn.Identity)
        and not module.use_dora.get(name, False)
        and not module.lora_variant
        and module.lora_B[name].bias is None
        and not module.merged
    )


def _kinds() -> dict[type, type]:
    """PEFT's LoRA layers, each with the linear map that it is beside."""
    from peft.tuners.lora import Linear

    kinds: dict[type, type] = {Linear: nn.Linear}
    if "bitsandbytes" in sys.modules:  # else no map can be in 4 bits
        from bitsandbytes.nn import Linear4bit
        from peft.tuners.lora.bnb import Linear4bit as LoraLinear4bit

        kinds[LoraLinear4bit] = Linear4bit
    return kinds
