"""One step's loss and gradients: the part of the trainer that another engine may replace.

Loss of a step = sum of w·(token cross-entropy) / sum of w, over the trained tokens of *all* its
rows, w being the row's weight. Dividing by the whole step's tokens, never by a micro-batch's, makes
the gradient independent of how the step is cut to fit the memory.

Rows are padded on the right, sorted by length, and given no attention mask: under causal attention
no real token sees the padding behind it, so that the fast causal kernel applies and no row can see
another. (Packing rows into one long sequence needs a dense block mask on a CPU; a step
is 10 to 25 % slower with it, see docs/training.md.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from assay.errors import ModelError
from assay.train.loss import backward_cross_entropy, cross_entropy, logits_head
from assay.train.sequences import TrainingSequence, micro_batches

MICRO_TOKENS = 1024

_SAME_LOGITS = 1e-3  # relative to the largest logit; bfloat16 is given 30 times as much


def step(
    model: nn.Module, sequences: Sequence[TrainingSequence], micro_tokens: int = MICRO_TOKENS
) -> tuple[float, int]:
    """Add the gradient of one step to the trainable parameters' `grad`.

    Args:
        model: a causal language model of transformers, with or without a PEFT adapter.
        sequences: the rows of the step, each with at least one trained token.
        micro_tokens: at most this many tokens (padding included) at once; changes memory and
            speed, not the gradient.

    Returns:
        The loss (nats per trained token) and the number of trained tokens.
    """
    return _accumulate(model, sequences, micro_tokens, backward_cross_entropy)


def evaluate(
    model: nn.Module,
    sequences: Sequence[TrainingSequence],
    micro_tokens: int = 4 * MICRO_TOKENS,
    between: Callable[[], None] = lambda: None,
) -> float:
    """The loss that `step` would report on all of `sequences` as one step, without gradients.

    Args:
        between: called before every micro-batch; what it raises ends the evaluation.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return _accumulate(model, sequences, micro_tokens, cross_entropy, between)[0]
    finally:
        model.train(training)


def hidden_states(model: nn.Module, ids_bt: Tensor) -> Tensor:
    """Last hidden states [B, T, D] of right-padded rows, after the final norm, before the head."""
    decoder = _causal_lm(model).get_decoder()  # type: ignore[operator]
    hidden: Tensor = decoder(input_ids=ids_bt, use_cache=False).last_hidden_state
    return hidden


def check_head(model: nn.Module, sequence: TrainingSequence) -> None:
    """Compare our way to the logits with the model's own on one row.

    Raises:
        ModelError: they differ; the architecture does something that this trainer does not know.
    """
    base = _causal_lm(model)
    ids = torch.tensor([sequence.ids[:64]], device=_device(model))
    padded = torch.nn.functional.pad(ids, (0, 7))
    with torch.no_grad():
        expected = base(input_ids=ids, use_cache=False).logits.float()
        hidden = hidden_states(model, padded)[:, : ids.shape[1]]
        ours = logits_head(base)(hidden).float()
    difference = float((ours - expected).abs().max() / expected.abs().max().clamp_min(1e-9))
    if not difference <= _SAME_LOGITS * (1 if hidden.dtype == torch.float32 else 30):
        kind = type(base).__name__
        raise ModelError(
            f"{kind} computes its logits in a way this trainer does not follow "
            f"(relative difference {difference:.2g}).",
            fix="Choose a model of another family, such as the starter model.",
        )


def _accumulate(
    model: nn.Module,
    sequences: Sequence[TrainingSequence],
    micro_tokens: int,
    loss_of: Callable[..., Tensor],
    between: Callable[[], None] = lambda: None,
) -> tuple[float, int]:
    head = logits_head(_causal_lm(model))
    count = sum(row.trained_tokens for row in sequences)
    whole = sum(row.weight * row.trained_tokens for row in sequences)
    if not whole > 0:
        raise ValueError("a step needs at least one trained token with a weight above 0")
    total = 0.0
    for batch in micro_batches(sequences, micro_tokens):
        between()
        ids, rows, columns, weights = _tensors(batch, whole, _device(model))
        hidden = hidden_states(model, ids)[rows, columns - 1]
        total += float(loss_of(head, hidden, ids[rows, columns], weights))
    return total, count


def _tensors(
    batch: Sequence[TrainingSequence], whole: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Padded ids [B, T]; row, column and weight [N] of every trained token in them."""
    longest = max(len(row.ids) for row in batch)
    ids = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in batch])
    places = [
        (number, column, row.weight / whole)
        for number, row in enumerate(batch)
        for column, trained in enumerate(row.trained)
        if trained and column
    ]
    rows, columns, weights = zip(*places, strict=True)
    return (
        ids.to(device),
        torch.tensor(rows, device=device),
        torch.tensor(columns, device=device),
        torch.tensor(weights, dtype=torch.float32, device=device),
    )


def _causal_lm(model: nn.Module) -> nn.Module:
    """The transformers model inside a PEFT model, or the model itself."""
    inside = getattr(model, "get_base_model", None)
    base: nn.Module = inside() if callable(inside) else model
    return base


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
