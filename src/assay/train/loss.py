"""Cross-entropy over a large vocabulary without ever holding all logits.

The head is applied to some trained positions at a time, and the gradient of each part is
taken before the next part is computed. For one chunk of 128 positions and a vocabulary of 49,152
that is 25 MB of logits, however long the batch. A GPU multiplies so few positions no faster than it
reads the head, and takes 1024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.errors import UsageError
from assay.train.counters import note

CHUNK = 128
CUDA_CHUNK = 1024

Head = Callable[[Tensor], Tensor]
TokenLoss = Callable[[Tensor, Tensor], Tensor]
"""Of logits [n, V], float32 with a graph, and the tokens that follow [n]: the loss of each, [n]."""
LogpLoss = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Of log-probabilities [k] of some tokens, and where these are among all: the sum of their losses,
and its slope [k] by the log-probabilities."""


def logits_head(model: nn.Module) -> Head:
    """The map from the decoder's last hidden state [..., D] to logits [..., V], as `model` has it.

    Some families scale or cap their logits outside the head's matrix: Gemma caps them
    (final_logit_softcapping), Cohere multiplies them (logit_scale), Granite divides them
    (logits_scaling). `step.check_head` finds out when a family does something else.
    """
    matrix = model.get_output_embeddings()  # type: ignore[operator]
    config = model.config.get_text_config()  # type: ignore[union-attr,operator]
    cap = getattr(config, "final_logit_softcapping", None)
    scale = getattr(config, "logit_scale", None) or 1.0
    divisor = getattr(config, "logits_scaling", None) or 1.0

    def head(hidden_nd: Tensor) -> Tensor:
        logits: Tensor = matrix(hidden_nd)
        if scale != 1.0 or divisor != 1.0:
            logits = logits * (scale / divisor)
        if cap:
            logits = torch.tanh(logits / cap) * cap
        return logits

    return head


def at_temperature(head: Head, temperature: float) -> Head:
    """The head of the distribution that tokens are drawn from at a temperature."""
    return head if temperature == 1.0 else lambda hidden_nd: head(hidden_nd) / temperature


def chunk_on(device: torch.device) -> int:
    """Positions that the head is applied to at a time."""
    return CUDA_CHUNK if device.type == "cuda" else CHUNK


def token_losses(head: Head, hidden_nd: Tensor, targets_n: Tensor) -> Tensor:
    """Cross-entropy (nats) of each token, [n] float32, without a graph.

    Args:
        head: hidden state [n, D] to logits [n, V].
        hidden_nd: hidden states of the trained positions.
        targets_n: the token that follows each of them.
    """
    found = []
    with torch.no_grad():
        for hidden, targets in _chunks(hidden_nd, targets_n):
            logits = head(hidden).float()
            note(logits, targets)
            found.append(functional.cross_entropy(logits, targets, reduction="none"))
    return torch.cat(found)


def backward_cross_entropy(
    head: Head,
    hidden_nd: Tensor,
    targets_n: Tensor,
    weights_n: Tensor,
) -> Tensor:
    """Weighted sum of token cross-entropies (nats), float64 scalar; its gradient is added.

    The gradient with respect to the hidden states is collected chunk by chunk on a leaf of its
    own; one backward pass through the decoder follows.

    Args:
        weights_n: factor of each token, float32; the rest as in `token_losses`.
    """
    total = torch.zeros((), dtype=torch.float64, device=hidden_nd.device)
    leaf = hidden_nd.detach().requires_grad_()
    for hidden, targets, weights in _chunks(leaf, targets_n, weights_n):
        logits = head(hidden).float()
        note(logits, targets)
        losses, gradient = _with_gradient(logits.detach(), targets, weights)
        logits.backward(gradient)  # type: ignore[no-untyped-call]
        total += (losses * weights).sum(dtype=torch.float64)
    hidden_nd.backward(leaf.grad)  # type: ignore[no-untyped-call]
    return total


def sum_of_tokens(
    loss: TokenLoss, head: Head, hidden_nd: Tensor, targets_n: Tensor, weights_n: Tensor
) -> Tensor:
    """Weighted sum of a loss of single tokens, float64 scalar, without a graph."""
    total = torch.zeros((), dtype=torch.float64, device=hidden_nd.device)
    with torch.no_grad():
        for hidden, targets, weights in _chunks(hidden_nd, targets_n, weights_n):
            total += (_own(loss, head, hidden, targets) * weights).sum(dtype=torch.float64)
    return total


def backward_tokens(
    loss: TokenLoss, head: Head, hidden_nd: Tensor, targets_n: Tensor, weights_n: Tensor
) -> Tensor:
    """As `sum_of_tokens`; its gradient is added, part by part as in `backward_cross_entropy`."""
    total = torch.zeros((), dtype=torch.float64, device=hidden_nd.device)
    leaf = hidden_nd.detach().requires_grad_()
    for hidden, targets, weights in _chunks(leaf, targets_n, weights_n):
        own = (_own(loss, head, hidden, targets) * weights).sum(dtype=torch.float64)
        own.backward()  # type: ignore[no-untyped-call]
        total += own.detach()
    hidden_nd.backward(leaf.grad)  # type: ignore[no-untyped-call]
    return total


def backward_logps(
    loss: LogpLoss, head: Head, hidden_nd: Tensor, targets_n: Tensor, factor: float
) -> Tensor:
    """A loss of the tokens' log-probabilities, times `factor`; its gradient is added, part by part
    as in `backward_cross_entropy`, each head applied once."""
    total = torch.zeros((), dtype=torch.float64, device=hidden_nd.device)
    leaf = hidden_nd.detach().requires_grad_()
    start = 0
    for hidden, targets in _chunks(leaf, targets_n):
        logits = head(hidden).float()
        note(logits, targets)
        known = logits.detach()
        logps = -functional.cross_entropy(known, targets, reduction="none")
        own, slope = loss(logps, slice(start, start + len(targets)))
        _, gradient = _with_gradient(known, targets, -factor * slope)
        logits.backward(gradient)  # type: ignore[no-untyped-call]
        total += factor * own.double()
        start += len(targets)
    hidden_nd.backward(leaf.grad)  # type: ignore[no-untyped-call]
    return total


def _own(loss: TokenLoss, head: Head, hidden: Tensor, targets: Tensor) -> Tensor:
    logits = head(hidden).float()
    note(logits, targets)
    losses = loss(logits, targets)
    if losses.shape != targets.shape:
        raise UsageError(
            f"token_loss gave a tensor of shape {list(losses.shape)} for {len(targets)} tokens.",
            fix="It has to return one loss for each token, not reduced.",
        )
    return losses


def _with_gradient(logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropies [n], and the gradient of their weighted sum [n, V]: weight · (p − target).

    The gradient takes the place of the logits, which are the largest tensor of a step; no map to
    logits keeps its output, and autograd would refuse if one did.
    """
    rows = torch.arange(len(targets), device=targets.device)
    top = logits.amax(-1, keepdim=True)
    chosen = logits[rows, targets] - top[:, 0]
    total = logits.sub_(top).exp_().sum(-1)
    gradient = logits.mul_((weights / total).unsqueeze(-1))
    gradient[rows, targets] -= weights
    return total.log() - chosen, gradient


def _chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Slices along the first axis, of all tensors alike."""
    size = chunk_on(tensors[0].device)
    for start in range(0, len(tensors[0]), size):
        yield tuple(tensor[start : start + size] for tensor in tensors)
