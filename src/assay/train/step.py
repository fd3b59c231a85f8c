"""One step's loss and gradients.

Supervised loss of a step = sum of w·(token cross-entropy) / sum of w, over the trained tokens of
*all* its rows, w being the row's weight. Where a teacher has said how likely it holds other tokens
(`assay.train.distillation`), the cross-entropy is against its distribution. Dividing by the whole
step's tokens, never by a pass's, makes the gradient independent of how the step is cut to fit the
memory.

The rows of a step go through the model as a tree (`assay.prefix.pack`): what several of them start
with is computed once, exactly; a tree of more than one pass is a trunk and passes over it
(`assay.prefix.trunk`). Nothing behind a row's last trained token is computed. Models whose
attention cannot be replaced run rows one behind the other, or padded (`assay.prefix.layout`); the
result is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor, nn

from assay.errors import ModelError
from assay.models.device import index_tensors, to_device
from assay.prefix import training as attention
from assay.prefix.decode import can_share
from assay.prefix.layout import PACKED_TOKENS, concatenate, layout_of
from assay.prefix.pack import Pack, group_into_packs
from assay.prefix.trunk import Trunk, TrunkGroup, group_by_trunk
from assay.train.distillation import SoftTargets, backward_soft, soft_losses
from assay.train.loss import (
    Head,
    backward_cross_entropy,
    backward_tokens,
    logits_head,
    sum_of_tokens,
    token_losses,
)
from assay.train.objective import AnyObjective, LogpObjective, TokenObjective, of_tokens
from assay.train.selection import select_rows, sums_of_rows
from assay.train.sequences import (
    TrainingSequence,
    Unit,
    alone,
    divisor,
    packed_batches,
    padded_batches,
    rows_of,
)

TOKENS = 4096
ENOUGH = {"cpu": 1024}
"""Tokens of a pass, by device, beyond which a larger one is no faster (docs/training.md)."""

_SAME_LOGITS = 1e-3  # relative to the largest logit; bfloat16 is given 30 times as much


def step(
    model: nn.Module,
    units: Sequence[Unit],
    objective: AnyObjective = None,
    tokens: int = TOKENS,
    whole: float | None = None,
) -> tuple[float, int]:
    """Add the gradient of one step to the trainable parameters' `grad`.

    Args:
        model: a causal language model of transformers, with or without a PEFT adapter.
        units: the rows of the step, each with at least one trained token.
        objective: see `AnyObjective`.
        tokens: at most this many at once, shared ones counted once; changes memory and speed, not
            the gradient.
        whole: what the sum of losses is divided by: `divisor` of all units of the step where
            `units` are some of them; None: of `units`.

    Returns:
        The loss (nats per trained token; with an objective of units: per unit) and the number of
        trained tokens.
    """
    return _over(model, units, objective, tokens, whole, backward=True)


def evaluate(
    model: nn.Module,
    units: Sequence[Unit],
    objective: AnyObjective = None,
    tokens: int = TOKENS,
    whole: float | None = None,
    between: Callable[[], None] = lambda: None,
) -> float:
    """The loss that `step` would report on all `units` as one step, without gradients.

    Args:
        whole: see `step`.
        between: called before every pass; what it raises ends the evaluation.
    """
    with evaluating(model):
        return _over(model, units, objective, tokens, whole, backward=False, between=between)[0]


def sequence_logps(
    model: nn.Module, sequences: Sequence[TrainingSequence], tokens: int = TOKENS
) -> Tensor:
    """[R] log-probability (nats) of each row's trained tokens together, float64, no gradients; on
    the model's device, which is not waited for."""
    found, order = [], []
    with evaluating(model), running(model):
        head = logits_head(causal_lm(model))
        for places, trunk in each_pass(model, in_passes(model, alone(sequences), tokens)):
            rows = [sequences[place] for place in places]
            hidden, targets, row = trained_states(model, rows, trunk)
            losses = token_losses(head, hidden, targets).double()
            found.append(-sums_of_rows(losses, row, len(rows)))
            order += places
    (where,) = index_tensors(device_of(model), sorted(range(len(order)), key=order.__getitem__))
    return torch.cat(found)[where]


@contextmanager
def running(model: nn.Module) -> Iterator[None]:
    """The model with attention over packs, where it can have it."""
    base = causal_lm(model)
    before = base.config._attn_implementation  # type: ignore[union-attr]
    if not can_share(base) or before == attention.NAME:
        yield
        return
    base.set_attn_implementation(attention.NAME)  # type: ignore[operator]
    try:
        yield
    finally:
        base.set_attn_implementation(before)  # type: ignore[operator]


def each_pass(
    model: nn.Module, families: Sequence[TrunkGroup]
) -> Iterator[tuple[list[int], Trunk | None]]:
    """The passes of all families, and what each is over; a trunk's gradient follows its last pass.

    Must be called inside `running`, and be read to its end.
    """
    for family in families:
        trunk = _computed(model, family.trunk) if family.trunk else None
        for places in family.passes:
            yield places, trunk
        if trunk is not None and torch.is_grad_enabled():
            trunk.backward()


def _computed(model: nn.Module, ids: Sequence[int]) -> Trunk:
    trunk = Trunk(len(ids))
    trunk.end(_states(model, Pack([ids], device_of(model)), keep=trunk))
    return trunk


def in_passes(model: nn.Module, units: Sequence[Unit], tokens: int) -> list[TrunkGroup]:
    """Which units go through the model together, and over which trunk."""
    base = causal_lm(model)
    layout = layout_of(base)
    rows = [[row.inputs for row in unit.rows] for unit in units]
    long = _long_beyond(base)
    families: list[TrunkGroup] = []
    for beyond in (False, True):
        places = [i for i, unit in enumerate(rows) if (max(map(len, unit)) > long) is beyond]
        if not places:
            continue
        some = [rows[place] for place in places]
        if layout == "tree":
            enough = ENOUGH.get(device_of(base).type)
            if beyond:  # a trunk alone would be rotated as a short one
                found = [TrunkGroup((), group_into_packs(some, tokens, enough))]
            else:
                found = group_by_trunk(some, tokens, enough)
        elif layout == "packed":
            lengths = [sum(map(len, unit)) for unit in some]
            found = [TrunkGroup((), packed_batches(lengths, min(tokens, PACKED_TOKENS)))]
        else:
            sizes = [len(unit) * max(map(len, unit)) for unit in some]
            found = [TrunkGroup((), padded_batches(sizes, tokens))]
        families += [
            TrunkGroup(family.trunk, [[places[i] for i in members] for members in family.passes])
            for family in found
        ]
    return families


def _long_beyond(base: nn.Module) -> float:
    """Tokens beyond which a sequence, and all that is computed with it, is rotated otherwise.

    LongRoPE (Phi-3 with 128k) has two sets of frequencies, and transformers takes one for a whole
    pass, by its longest sequence. Infinite for other models.
    """
    config = base.config.get_text_config()  # type: ignore[union-attr,operator]
    known = getattr(config, "rope_parameters", None) or {}
    by_layer = [known] if "rope_type" in known else list(known.values())
    return min(
        (
            float(rope["original_max_position_embeddings"])
            for rope in by_layer
            if isinstance(rope, dict) and rope.get("rope_type") == "longrope"
        ),
        default=math.inf,
    )


def trained_states(
    model: nn.Module, rows: Sequence[TrainingSequence], trunk: Trunk | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass: hidden states [n, D] from which the n trained tokens of all rows are predicted.

    Must be called inside `running`.

    Args:
        trunk: what all rows start with, computed before.

    Returns:
        Hidden states after the final norm, the tokens to predict [n], and the row of each [n].
    """
    base = causal_lm(model)
    decoder, device = _decoder(base), device_of(model)
    inputs = [r.inputs for r in rows]
    targets = torch.tensor([token for r in rows for token in r.targets])
    before = [torch.tensor([c for c, counts in enumerate(r.trained[1:]) if counts]) for r in rows]
    layout = layout_of(base)
    if layout == "tree":
        pack = Pack(inputs, device, trunk=trunk)
        hidden = _states(model, pack)
        if trunk is not None:
            hidden = torch.cat([trunk.hidden.to(hidden.dtype), hidden])
        where = [own[b] for own, b in zip(pack.places, before, strict=True)]
    elif layout == "packed":
        ids, position = concatenate(inputs, device)
        # Positions tell the rows apart only where no cache is asked for.
        hidden = decoder(input_ids=ids, position_ids=position, use_cache=False).last_hidden_state[0]
        starts = [0, *accumulate(map(len, inputs))]
        where = [b + start for b, start in zip(before, starts, strict=False)]
    else:
        # No mask is needed: under causal attention no real token sees the padding behind it.
        longest = max(map(len, inputs))
        ids = torch.tensor([own + [0] * (longest - len(own)) for own in inputs])
        hidden = decoder(input_ids=to_device(ids, device), use_cache=False).last_hidden_state
        hidden = hidden.flatten(0, 1)
        where = [b + place * longest for place, b in enumerate(before)]
    row = torch.repeat_interleave(torch.tensor([len(b) for b in before]))
    chosen, targets, row = to_device(torch.stack([torch.cat(where), targets, row]), device)
    return select_rows(hidden, chosen), targets, row


def _states(model: nn.Module, pack: Pack, keep: Trunk | None = None) -> Tensor:
    """[N, D] after the final norm, of a pack's tokens."""
    hidden: Tensor = _decoder(causal_lm(model))(
        input_ids=pack.ids[None],
        position_ids=pack.position[None],
        use_cache=False,
        pack=pack,
        keep=keep,
    ).last_hidden_state
    return hidden[0]


def hidden_states(model: nn.Module, ids: Sequence[int]) -> Tensor:
    """Last hidden states [T, D] of one sequence, after the final norm, before the head."""
    decoder = _decoder(causal_lm(model))
    hidden: Tensor = decoder(
        input_ids=torch.tensor([list(ids)], device=device_of(model)), use_cache=False
    ).last_hidden_state
    return hidden[0]


def check_head(model: nn.Module, sequence: TrainingSequence) -> None:
    """Compare our way to the logits with the model's own on one row.

    Raises:
        ModelError: they differ; the architecture does something that this trainer does not know.
    """
    base = causal_lm(model)
    ids = sequence.ids[:64]
    probe = TrainingSequence([*ids, 0], [False, *[True] * len(ids)])
    with torch.no_grad():
        expected = base(input_ids=torch.tensor([ids], device=device_of(model)), use_cache=False)
        wanted = expected.logits[0].float()
        with running(model):
            hidden = trained_states(model, [probe])[0]
        ours = logits_head(base)(hidden).float()
    difference = float((ours - wanted).abs().max() / wanted.abs().max().clamp_min(1e-9))
    if not difference <= _SAME_LOGITS * (1 if hidden.dtype == torch.float32 else 30):
        kind = type(base).__name__
        raise ModelError(
            f"{kind} computes its logits in a way that this trainer does not support (relative "
            f"difference {difference:.2g}).",
            fix="Choose a model of another family, such as the starter model.",
        )


def _over(
    model: nn.Module,
    units: Sequence[Unit],
    objective: AnyObjective,
    tokens: int,
    whole: float | None,
    *,
    backward: bool,
    between: Callable[[], None] = lambda: None,
) -> tuple[float, int]:
    """The loss of all units, pass by pass."""
    count = sum(row.trained_tokens for row in rows_of(units))
    if whole is None:
        whole = divisor(units, of_tokens=of_tokens(objective))
    if not whole > 0:
        raise ValueError("a step needs at least one trained token with a weight above 0")
    # Added up on the device: to read the loss of a pass would wait for it before the next begins.
    total = torch.zeros((), dtype=torch.float64, device=device_of(model))
    head = logits_head(causal_lm(model))
    with running(model), torch.set_grad_enabled(backward):
        for places, trunk in each_pass(model, in_passes(model, units, tokens)):
            between()
            members = [units[place] for place in places]
            total += _pass(model, head, members, objective, whole, trunk, backward=backward)
    return float(total), count


def _pass(
    model: nn.Module,
    head: Head,
    units: Sequence[Unit],
    objective: AnyObjective,
    whole: float,
    trunk: Trunk | None,
    *,
    backward: bool,
) -> Tensor:
    """The share of the loss that comes from `units`, computed together: float64, on the device."""
    rows = [row for unit in units for row in unit.rows]
    hidden, targets, row = trained_states(model, rows, trunk)
    if isinstance(objective, LogpObjective):
        return objective.backward(head, hidden, targets, units, 1 / whole)
    if objective is None or isinstance(objective, TokenObjective):
        factor = to_device(torch.tensor([r.weight / whole for r in rows]), hidden.device)[row]
        if objective is not None:
            own = backward_tokens if backward else sum_of_tokens
            return own(objective.loss, head, hidden, targets, factor)
        if any(r.taught is not None for r in rows):
            soft = SoftTargets.of(rows, hidden.device)
            if backward:
                return backward_soft(head, hidden, soft, factor)
            return (soft_losses(head, hidden, soft) * factor).sum(dtype=torch.float64)
        if backward:
            return backward_cross_entropy(head, hidden, targets, factor)
        return (token_losses(head, hidden, targets) * factor).sum(dtype=torch.float64)
    losses = token_losses(head, hidden, targets)
    logps = -sums_of_rows(losses, row, len(rows))
    loss = objective(logps.requires_grad_(backward), units) / whole
    if backward:
        loss.backward()  # type: ignore[no-untyped-call]
        assert logps.grad is not None
        backward_cross_entropy(head, hidden, targets, -logps.grad[row])
    return loss.detach().double().reshape(())


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block, the model drops nothing out and no gradient is kept."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def causal_lm(model: nn.Module) -> nn.Module:
    """The transformers model inside a PEFT model, or the model itself."""
    inside = getattr(model, "get_base_model", None)
    base: nn.Module = inside() if callable(inside) else model
    return base


def device_of(model: nn.Module) -> torch.device:
    """Where the model's weights are."""
    return next(model.parameters()).device


def _decoder(base: nn.Module) -> nn.Module:
    decoder: nn.Module = base.get_decoder()  # type: ignore[operator]
    return decoder
