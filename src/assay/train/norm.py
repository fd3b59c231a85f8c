"""RMS norms that keep their output for the backward pass; on CUDA each direction is one kernel.

y = x / √(mean x² + ε) · s (Zhang & Sennrich 2019, arXiv:1910.07467). Written with torch's
operations it takes five passes over memory forward and eight backward, which shows where products
are fast. On CUDA torch compiles both directions, once for each width and number format. A training
uses compiled norms if those of its model have given on samples, backward too, what the operations
give (`find_obstacle`); else it uses the operations. Either way it keeps to that (`train.choices`).

Equal bits after a stop need the same kernel in every process: it is compiled for a sample of one
size, whatever rows come first, on the threads that run it later (CUDA's backward pass has its own),
and no choice between kernels is timed. Liger's norm would keep the input beside the output, which
the next map keeps anyway, and overwrite the gradient it is given.

Letters: N tokens (times heads, where each head has a norm), D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from assay.errors import ModelError, first_line
from assay.models.device import ran_out

Norms = Literal["compiled", "operations"]
"""How a training computes them."""
COMPILED_ON = frozenset({"cuda"})
SAMPLES = 2048, 777
"""Tokens of the samples: the kernel is made for about as many as the first has, and must give the
same for others; passes have from a few to 4096, times heads."""
GRAPHS = 64
"""Most graphs of a process, see `assay.prefix.flex`."""

_NEAR = {torch.float32: 1e-5, torch.bfloat16: 1e-2}  # of the largest value


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
        compiled: whether it is one kernel each way, where more than a single token comes.
    """

    scale_d: Tensor
    inverse_d: Tensor
    eps: Tensor
    dtype: torch.dtype | None
    compiled: bool

    def __call__(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D].

        Raises:
            ModelError: it shall be compiled and cannot be.
        """
        by = OPERATIONS
        if self.compiled and x.numel() > x.shape[-1]:  # one token would be a graph of its own
            if why := _why_not(x.shape[-1], x.dtype, self.dtype or x.dtype, x.device):
                raise ModelError(
                    f"norms were compiled when this training began, and cannot be now: {why}.",
                    fix="Start Assay again, where it began and with the same torch; or change "
                    "fine_tune.seed, which begins anew.",
                )
            by = compiled()
        y: Tensor = _Normalisation.apply(x, self, by)  # type: ignore[no-untyped-call]
        return y


class _Normalisation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: RmsNorm, by: Directions) -> Tensor:
        y, root = by.forward(x, norm.scale_d, norm.eps, norm.dtype or x.dtype)
        ctx.save_for_backward(y, root, norm.scale_d, norm.inverse_d)
        ctx.by, ctx.dtype = by, x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.by.backward(grad, *ctx.saved_tensors, ctx.dtype), None, None


def parts_of(module: nn.Module) -> tuple[Tensor, float] | None:
    """Weight [D] and ε of what is an RMS norm by its name."""
    weight = getattr(module, "weight", None)
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not type(module).__name__.endswith("RMSNorm") or not isinstance(eps, float):
        return None
    if not isinstance(weight, Tensor) or weight.dim() != 1:
        return None
    return weight, eps


def find_obstacle(model: nn.Module, compute: str) -> str:
    """Why norms of `model` cannot be compiled for a training in `compute`; empty if they can be.

    Every kind of norm that the training may have is compiled here.
    """
    widths = {len(parts[0]) for parts in map(parts_of, model.modules()) if parts}
    own = {parameter.dtype for parameter in model.parameters()}
    wide, narrow = torch.float32, torch.bfloat16
    formats = [(wide, wide)]
    if compute == "bfloat16" or narrow in own:
        formats += [(wide, narrow), (narrow, narrow)]
    device = next(model.parameters()).device
    kinds = ((width, *pair, device) for width in sorted(widths) for pair in formats)
    return next(filter(None, (_why_not(*kind) for kind in kinds)), "")


_reasons: dict[tuple[Any, ...], str] = {}
"""Of each kind tried in this process, why it cannot be compiled; empty if it can be."""


def _why_not(width: int, of_input: torch.dtype, dtype: torch.dtype, device: torch.device) -> str:
    # The number of threads is a condition of every graph of torch's.
    kind = width, of_input, dtype, device, torch.get_num_threads()
    if kind not in _reasons:
        _reasons[kind] = _try(width, of_input, dtype, device)
    return _reasons[kind]


def _try(width: int, of_input: torch.dtype, dtype: torch.dtype, device: torch.device) -> str:
    """Compile; empty if both directions give what the operations do."""
    from torch._inductor import config as inductor  # seconds to import, and not needed on a CPU

    if not hasattr(inductor, "deterministic"):
        return "this torch would choose between kernels by their time, newer ones need not"
    draw = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.5, 2.0, width, device=device)
    eps = torch.tensor(1e-6, device=device)
    norm = RmsNorm(scale, scale.reciprocal(), eps, dtype, compiled=True)
    for tokens in SAMPLES:
        sample = torch.randn(2, tokens, width, generator=draw)
        x, grad = sample[0].to(device, of_input), sample[1].to(device, dtype)
        try:
            ours = _both(norm, compiled(), x, grad)
        except Exception as error:  # the compiler's, of which torch has many kinds
            cause = getattr(error, "inner_exception", error)
            if ran_out(cause):  # that passes, and says nothing of the compiler
                raise cause from None
            return f"torch could not compile them ({first_line(cause)})"
        wanted = _both(norm, OPERATIONS, x, grad)
        if not all(_is_near(*pair) for pair in zip(ours, wanted, strict=True)):
            return "compiled ones give something else here"
    return ""


def _both(norm: RmsNorm, by: Directions, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The output, and the input's gradient by a backward pass as a training has it."""
    x = x.detach().requires_grad_()
    # Activation checkpointing counts, by its own hooks, what is saved.
    with torch.enable_grad(), saved_tensors_hooks(lambda t: t, lambda t: t):
        y: Tensor = _Normalisation.apply(x, norm, by)  # type: ignore[no-untyped-call]
        (d_x,) = torch.autograd.grad(y, x, grad)
    return y.detach(), d_x


def _is_near(ours: Tensor, wanted: Tensor) -> bool:
    most = wanted.float().abs().max()
    return float((ours.float() - wanted.float()).abs().max() / most) <= _NEAR[wanted.dtype]


@cache
def compiled(backend: str | Callable[..., Any] = "inductor") -> Directions:
    """Both functions compiled, with the number of tokens left open.

    Raises:
        ModelError: by what it returns, for one kind of norm too many.
    """
    from torch._dynamo import config as dynamo
    from torch._dynamo import lookup_backend
    from torch._dynamo.exc import FailOnRecompileLimitHit
    from torch._inductor import config as inductor

    def untimed(*given: Any) -> Any:
        with inductor.patch(deterministic=True):
            return lookup_backend(backend)(*given)

    how: dict[str, Any] = {"backend": untimed, "dynamic": False, "fullgraph": True}
    forward, backward = torch.compile(normalise, **how), torch.compile(to_input, **how)

    def flat(tensor: Tensor) -> Tensor:
        """[N, D], at the beginning of its memory: torch makes all else a condition of the graph."""
        found = tensor.detach().reshape(-1, tensor.shape[-1]).contiguous()
        if found.storage_offset():
            found = found.clone()
        torch._dynamo.mark_dynamic(found, 0)
        return found

    def run(function: Callable[..., Any], *given: Any) -> Any:
        with torch.autocast(given[0].device.type, enabled=False):
            try:
                return function(*given)
            except FailOnRecompileLimitHit:
                pass  # torch's own limit is for few kinds; to set it for each call would take time
            try:
                with dynamo.patch(recompile_limit=GRAPHS):
                    return function(*given)
            except FailOnRecompileLimitHit:
                raise ModelError(
                    f"norms were compiled for {GRAPHS} kinds in this process; this is one more.",
                    fix="Start Assay again: what is unfinished goes on from its last checkpoint.",
                ) from None

    def run_forward(x: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
        y_nd, root_n1 = run(forward, flat(x), *given)
        return y_nd.view(x.shape), root_n1

    def run_backward(g: Tensor, y: Tensor, root_n1: Tensor, *given: Any) -> Tensor:
        d_x: Tensor = run(backward, flat(g), flat(y), flat(root_n1), *given)
        return d_x.view(g.shape)

    return Directions(run_forward, run_backward)
