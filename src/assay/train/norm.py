"""RMS norms that keep their output for the backward pass; on CUDA each direction is one kernel.

y = x / √(mean x² + ε) · s (Zhang & Sennrich 2019, arXiv:1910.07467). Written with torch's
operations it takes five passes over memory forward and eight backward, which shows where products
are fast. On CUDA torch compiles both directions, once for each width and number format. A compiled
norm is used after it has given on a sample, backward too, what the operations give; where torch
cannot compile it, or it gives something else, the operations are used, and that is said.

Equal bits after a stop need the same kernel in every process: it is compiled for a sample of one
size, whatever rows come first, and no choice between kernels is timed. Liger's norm would keep the
input beside the output, which the next map keeps anyway, and overwrite the gradient it is given.

Letters: N tokens (times heads, where each head has a norm), D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from assay.errors import first_line

COMPILED_ON = frozenset({"cuda"})
SAMPLE = 2048
"""Tokens of the sample: as many as a pass has, since the kernel is made for about that many."""
GRAPHS = 64
"""Most graphs of a process, see `assay.prefix.flex`."""

_NEAR = {torch.float32: 1e-5, torch.bfloat16: 1e-2}  # of the largest value

Say = Callable[[str], None]


def normalise(
    x_nd: Tensor, scale_d: Tensor, eps: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The output [N, D] in `dtype` and 1 / √(mean x² + ε) [N, 1] in float32."""
    wide = x_nd.float()
    root_n1 = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
    return (wide * root_n1).mul_(scale_d).to(dtype), root_n1


def to_input(
    g_nd: Tensor,
    y_nd: Tensor,
    root_n1: Tensor,
    scale_d: Tensor,
    inverse_d: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """The gradient of the input [N, D] in `dtype`, from the output's gradient and the output."""
    wide = g_nd.float()
    along = (wide * y_nd).mean(-1, keepdim=True)
    return (wide * scale_d).sub_((y_nd * inverse_d).mul_(along)).mul_(root_n1).to(dtype)


class Directions(NamedTuple):
    """Both functions, as operations or compiled."""

    forward: Callable[..., tuple[Tensor, Tensor]]
    backward: Callable[..., Tensor]


OPERATIONS = Directions(normalise, to_input)


@dataclass(frozen=True, slots=True, eq=False)
class RmsNorm:
    """A norm that is not trained.

    Attributes:
        scale_d: s, float32, none of it 0.
        inverse_d: 1 / s.
        eps: ε, [] in float32: a number would be one more graph for each of its values.
        dtype: of the output; None: that of the input.
        say: takes a line about norms that are not compiled.
    """

    scale_d: Tensor
    inverse_d: Tensor
    eps: Tensor
    dtype: torch.dtype | None
    say: Say

    def __call__(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        y: Tensor = _Normalised.apply(x, self)  # type: ignore[no-untyped-call]
        return y


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: RmsNorm) -> Tensor:
        dtype = norm.dtype or x.dtype
        by = _directions(x, dtype, norm.say)
        y, root = by.forward(x, norm.scale_d, norm.eps, dtype)
        ctx.save_for_backward(y, root, norm.scale_d, norm.inverse_d)
        ctx.by, ctx.dtype = by, x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.by.backward(grad, *ctx.saved_tensors, ctx.dtype), None


def _directions(x: Tensor, dtype: torch.dtype, say: Say) -> Directions:
    """Compiled where they can be; a single token never is, which would be a graph of its own."""
    width = x.shape[-1]
    if x.device.type not in COMPILED_ON or x.numel() <= width:
        return OPERATIONS
    # The number of threads is a condition of every graph of torch's.
    kind = width, x.dtype, dtype, x.device, torch.get_num_threads()
    if kind not in _usable:
        why = _why_not(kind)
        if why and all(_usable.values()):  # else it was said already
            say(f"Norms take several kernels each, which is slower: {why}.")
        _usable[kind] = not why
    return compiled() if _usable[kind] else OPERATIONS


_Kind = tuple[int, torch.dtype, torch.dtype, torch.device, int]
_usable: dict[_Kind, bool] = {}


def _why_not(kind: _Kind) -> str:
    """Compile for this kind; empty if both directions give what the operations do."""
    from torch._dynamo import config as dynamo  # seconds to import, and not needed on a CPU
    from torch._inductor import config as inductor

    if not hasattr(inductor, "deterministic"):
        return "this torch would choose between kernels by their time, newer ones need not"
    width, of_input, dtype, device, _ = kind
    draw = torch.Generator().manual_seed(0)
    sample = torch.randn(2, SAMPLE, width, generator=draw)
    x, grad = sample[0].to(device, of_input), sample[1].to(device, dtype)
    scale = torch.linspace(0.5, 2.0, width, device=device)
    eps = torch.tensor(1e-6, device=device)
    try:
        with torch.no_grad(), dynamo.patch(recompile_limit=GRAPHS):
            these = compiled()
            y, root = OPERATIONS.forward(x, scale, eps, dtype)
            before = grad, y, root, scale, scale.reciprocal(), x.dtype
            ours = *these.forward(x, scale, eps, dtype), these.backward(*before)
            wanted = y, root, OPERATIONS.backward(*before)
    except Exception as error:  # the compiler's, of which torch has many kinds
        cause = getattr(error, "inner_exception", error)
        return f"torch could not compile them ({first_line(cause)})"
    same = all(_is_near(*pair) for pair in zip(ours, wanted, strict=True))
    return "" if same else "compiled ones give something else here"


def _is_near(ours: Tensor, wanted: Tensor) -> bool:
    most = wanted.float().abs().max()
    return float((ours.float() - wanted.float()).abs().max() / most) <= _NEAR[wanted.dtype]


@cache
def compiled(backend: str | Callable[..., Any] = "inductor") -> Directions:
    """Both functions compiled, with the number of tokens left open."""
    how: dict[str, Any] = {"backend": backend, "dynamic": False, "fullgraph": True}
    if backend == "inductor":
        how["options"] = {"deterministic": True}
    forward, backward = torch.compile(normalise, **how), torch.compile(to_input, **how)

    def flat(tensor: Tensor) -> Tensor:
        """[N, D], at the beginning of its memory: torch makes all else a condition of the graph."""
        found = tensor.detach().reshape(-1, tensor.shape[-1]).contiguous()
        if found.storage_offset():
            found = found.clone()
        torch._dynamo.mark_dynamic(found, 0)
        return found

    def run_forward(x: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            y_nd, root_n1 = forward(flat(x), *given)
        return y_nd.view(x.shape), root_n1

    def run_backward(g: Tensor, y: Tensor, root_n1: Tensor, *given: Any) -> Tensor:
        with torch.autocast(g.device.type, enabled=False):
            d_x: Tensor = backward(flat(g), flat(y), flat(root_n1), *given)
        return d_x.view(g.shape)

    return Directions(run_forward, run_backward)
