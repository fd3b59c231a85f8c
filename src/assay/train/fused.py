"""Parts of a decoder that compute the same with less: RMS norms, gated feed-forwards, the head.

What a layer keeps for its backward pass decides how much memory a training takes. A norm keeps its
output, which the next linear map keeps anyway, instead of its input; a gated feed-forward with
LoRA keeps gate and up and computes their product again, instead of keeping four tensors of that
width. Both are recognised by what they compute, not by their name: a module whose own output is
not met on a random input stays as it is.

    with fast(model, torch.float32):       # what can be computed this way is, inside the block
        step(model, ...)

Letters: N tokens, D width of the model, F width of the feed-forward, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.models.device import give_back_freed
from assay.train.lora import Factors, LoraMap, is_plain
from assay.train.norm import Norms, RmsNorm, normalise, parts_of
from assay.train.rotation import rotating
from assay.train.step import causal_lm

_SAME = {torch.float32: 1e-5, torch.bfloat16: 3e-2}  # relative to the largest output


@contextmanager
def fast(model: nn.Module, dtype: torch.dtype, norms: Norms = "operations") -> Iterator[int]:
    """Within the block, LoRA layers, norms and feed-forwards of `model` compute as one function.

    Queries and keys are rotated by `assay.train.rotation`, and a frozen head is cast once. A base
    in bfloat16 has a residual stream of float32 (`wide_stream`): to the last bit it computes what
    the same weights in float32 would.

    LoRA layers with dropout or DoRA, and all else, stay as they are.

    Args:
        dtype: of the matrix products. The frozen weight of a LoRA layer that it holds to the last
            bit, as bfloat16 does what was stored in it, is kept in it alone inside the block; of
            another one there is a copy.
        norms: how those are computed that have more than a single token.

    Yields:
        The number of LoRA layers that changed.
    """
    maps: dict[nn.Module, LoraMap] = {}
    replaced: dict[Any, Callable[[Tensor], Tensor]] = {}
    kept: list[tuple[nn.Parameter, torch.dtype]] = []
    head = getattr(causal_lm(model), "get_output_embeddings", lambda: None)()
    try:
        if dtype == torch.bfloat16:
            _widen(model, kept)
        # Map by map, and a feed-forward before its maps: never are all weights there twice.
        for name, module in model.named_modules():
            if is_plain(module):
                if module not in maps:
                    maps[module] = LoraMap.of(module, dtype)
                replaced[module] = maps[module].forward
                own = maps[module].weight.dtype
                if maps[module].keep_once():
                    kept.append((maps[module].weight, own))
                continue
            found = (
                (_cast_head(module, dtype) if module is head else None)
                or _norm(module, _output_type(name, dtype), norms)
                or _feed_forward(module, maps, dtype)
            )
            if found is not None:
                replaced[module] = found
        if kept:
            give_back_freed()
        for module, forward in replaced.items():
            module.forward = forward
        with rotating(model):
            yield len(maps)
    finally:
        for weight, own in kept:
            weight.data = weight.data.to(own)
        for module in replaced:
            vars(module).pop("forward", None)


@contextmanager
def wide_stream(model: nn.Module) -> Iterator[None]:
    """Within the block, the residual stream of a base in bfloat16 is float32.

    Embeddings, norms and the like are, which are small beside the maps. Only under autocast.
    """
    kept: list[tuple[nn.Parameter, torch.dtype]] = []
    try:
        _widen(model, kept)
        yield
    finally:
        for weight, own in kept:
            weight.data = weight.data.to(own)


def _widen(model: nn.Module, kept: list[tuple[nn.Parameter, torch.dtype]]) -> None:
    """What is in bfloat16 and not multiplied becomes float32, and is added to `kept`."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            continue
        for weight in module.parameters(recurse=False):
            small = weight.dim() == 1 or isinstance(module, nn.Embedding)
            if small and weight.dtype == torch.bfloat16:
                kept.append((weight, weight.dtype))
                weight.data = weight.data.float()


def _cast_head(head: Any, dtype: torch.dtype) -> Callable[[Tensor], Tensor] | None:
    """A frozen head, cast once: autocast would cast it for every few tokens."""
    if type(head) is not nn.Linear or head.weight.requires_grad or head.weight.dtype == dtype:
        return None
    weight = head.weight.detach().to(dtype)
    bias = None if head.bias is None else head.bias.detach().to(dtype)
    return lambda x: nn.functional.linear(x.to(dtype), weight, bias)


def _output_type(name: str, dtype: torch.dtype) -> torch.dtype | None:
    """What a norm of that name gives; None: the type of its input.

    A layer's norms give what the maps behind them multiply in, once for all of them. The last norm,
    before the head, stays as it is: many rows may add to the gradient of one of its outputs.
    """
    in_a_layer = any(part.isdigit() for part in name.split("."))
    return dtype if in_a_layer and dtype == torch.bfloat16 else None


def _norm(module: nn.Module, dtype: torch.dtype | None, norms: Norms) -> RmsNorm | None:
    """The norm of a module, if it is one; its outputs are of `dtype`."""
    parts = parts_of(module)
    if parts is None or parts[0].requires_grad:
        return None
    weight, eps = parts
    sample = _sample(weight, len(weight))
    wanted = _output(module, sample)
    for scale in (weight.detach().float(), 1 + weight.detach().float()):  # as Llama; as Gemma
        if float(scale.abs().min()) < 1e-6:  # the output cannot be divided by it
            continue
        small = torch.tensor(eps, device=scale.device)
        if _same(normalise(sample, scale, small, sample.dtype)[0], wanted, weight.dtype):
            return RmsNorm(scale, scale.reciprocal(), small, dtype, norms == "compiled")
    return None


class _GatedFeedForward(torch.autograd.Function):
    """y = down(act(gate(x)) · up(x)), each map with its LoRA update (Shazeer 2020)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, act: str, *given: Any) -> Tensor:
        gate, up, down = (Factors(*given[i : i + 5]).cast() for i in (0, 5, 10))
        x_nd = x.reshape(-1, x.shape[-1]).to(gate.weight_oi.dtype)
        gate_nf, gate_nr = gate.product(x_nd)
        up_nf, up_nr = up.product(x_nd)
        y_nd, down_nr = down.product(_ACTS[act][0](gate_nf).mul_(up_nf))
        three = gate, up, down
        tensors = [t for one in three for t in (one.a_ri, one.b_or)]
        ctx.save_for_backward(x_nd, gate_nf, up_nf, gate_nr, up_nr, down_nr, *tensors)
        ctx.frozen = [(one.weight_oi, one.scale) for one in three]
        ctx.settings = act, x.shape, x.dtype
        return y_nd.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x_nd, gate_nf, up_nf, gate_nr, up_nr, down_nr, *tensors = ctx.saved_tensors
        act, shape, dtype = ctx.settings
        gate, up, down = (
            Factors(weight_oi, None, tensors[2 * i], tensors[2 * i + 1], scale)
            for i, (weight_oi, scale) in enumerate(ctx.frozen)
        )
        activate, slope = _ACTS[act]
        g_nd = grad.reshape(-1, grad.shape[-1]).to(x_nd.dtype)
        acted_nf = activate(gate_nf)
        g_nr, *d_down = down.gradients(g_nd, acted_nf * up_nf, down_nr)
        d_hidden = down.to_input(g_nd, g_nr)
        d_up_nf = acted_nf.mul_(d_hidden)
        d_gate_nf = slope(d_hidden.mul_(up_nf), gate_nf)
        del acted_nf, d_hidden
        g_nr, *d_gate = gate.gradients(d_gate_nf, x_nd, gate_nr)
        d_x = gate.to_input(d_gate_nf, g_nr)
        g_nr, *d_up = up.gradients(d_up_nf, x_nd, up_nr)
        d_x = up.to_input(d_up_nf, g_nr, into=d_x)
        each = (t for d_a, d_b in (d_gate, d_up, d_down) for t in (None, None, d_a, d_b, None))
        return d_x.view(shape).to(dtype), None, *each


_ACTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "silu": (nn.functional.silu, torch.ops.aten.silu_backward),
    "gelu": (
        partial(nn.functional.gelu, approximate="tanh"),
        partial(torch.ops.aten.gelu_backward, approximate="tanh"),
    ),
}
"""Activation, and its gradient from (gradient of the output, input)."""


def _feed_forward(
    module: nn.Module, maps: dict[nn.Module, LoraMap], dtype: torch.dtype
) -> Callable[[Tensor], Tensor] | None:
    """The feed-forward of a module, if it is a gated one of three plain LoRA layers.

    They are added to `maps`.
    """
    parts: list[Any] = [
        getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")
    ]
    act = getattr(module, "act_fn", None)
    if act is None or not all(map(is_plain, parts)):
        return None
    three = [maps.setdefault(part, LoraMap.of(part, dtype)) for part in parts]
    like = three[0].like_input
    sample = _sample(like, three[0].factors.a_ri.shape[1])
    for name, (activate, _) in _ACTS.items():
        if not _same(_output(act, sample), activate(sample), like.dtype):
            continue
        apply = partial(_apply_feed_forward, name, three, module.forward)
        if _same(_output(apply, sample), _output(module, sample), three[0].factors.weight_oi.dtype):
            return apply
    return None


def _apply_feed_forward(
    act: str, three: list[LoraMap], own: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    if any(one.module.disable_adapters for one in three):
        return own(x)
    flat = [part for one in three for part in one.factors]
    y: Tensor = _GatedFeedForward.apply(x, act, *flat)  # type: ignore[no-untyped-call]
    return y


def _sample(like: Tensor, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, width, generator=generator).to(like)


def _output(module: Callable[[Tensor], Tensor], sample: Tensor) -> Tensor | None:
    """None where it cannot be called this way."""
    device = sample.device.type
    try:
        with torch.no_grad(), torch.autocast(device, enabled=False):
            return module(sample)
    except (RuntimeError, TypeError):
        return None


def _same(found: Tensor | None, wanted: Tensor | None, dtype: torch.dtype) -> bool:
    if found is None or wanted is None or found.shape != wanted.shape:
        return False
    most = wanted.abs().max().clamp_min(1e-9)
    return float((found.float() - wanted.float()).abs().max() / most) <= _SAME[dtype]
