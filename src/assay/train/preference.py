"""Learning from preferences: DPO, IPO, KTO and ORPO as functions of log-probabilities.

Notation: x is a prompt, y an answer to it, log π(y|x) the sum of the log-probabilities of its
tokens under the model in training, log π₀(y|x) the same under the model the training starts from
(the reference), and r = log π(y|x) − log π₀(y|x) the log-ratio. All are natural logarithms; sums,
not means, over an answer's tokens, except in ORPO, whose formula has the mean.

The `*_loss` functions are the formulas, one loss for each unit. The step calls `PairObjective` or
`ThumbObjective` with the log-probabilities of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from assay.config import FineTune
from assay.train.sequences import TrainingSequence, Unit
from assay.train.step import Objective, sequence_logps


@dataclass(frozen=True, slots=True)
class Pair(Unit):
    """A better and a worse answer to one prompt; `rows` is (chosen, rejected).

    Attributes:
        reference: log π₀ of the two rows; None until it was computed (ORPO needs none).
    """

    reference: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Thumb(Unit):
    """An answer somebody liked or did not; `rows` holds that answer alone.

    Attributes:
        desirable: the thumb.
        mismatched: the same prompt with an answer to another one, for KTO's estimate of how far
            the model has moved; never trained.
        reference: log π₀ of the answer and of `mismatched`; None until it was computed.
    """

    desirable: bool = True
    mismatched: TrainingSequence | None = None
    reference: tuple[float, float] | None = None


def dpo_loss(chosen_u: Tensor, rejected_u: Tensor, beta: float) -> Tensor:
    """−log σ(β (r_chosen − r_rejected)), for each pair.

    Rafailov et al. 2023, Direct Preference Optimization, eq. 7 (arXiv:2305.18290).

    Args:
        chosen_u, rejected_u: log-ratios [pairs].
        beta: how costly it is to move away from the reference.
    """
    return -logsigmoid(beta * (chosen_u - rejected_u))


def ipo_loss(chosen_u: Tensor, rejected_u: Tensor, beta: float) -> Tensor:
    """(r_chosen − r_rejected − 1 / (2β))², for each pair; β is the paper's τ.

    Azar et al. 2023, A General Theoretical Paradigm to Understand Learning from Human Preferences,
    eq. 17 (arXiv:2310.12036). As printed there: r is a sum over the answer's tokens. TRL divides
    each r by its answer's length first; its loss is another one, and its β too.

    Args:
        chosen_u, rejected_u: log-ratios [pairs].
        beta: the margin that is aimed at is 1 / (2β) nats.
    """
    return (chosen_u - rejected_u - 1 / (2 * beta)) ** 2


def kto_loss(
    ratio_u: Tensor, desirable_u: Tensor, shift: float, beta: float, up: float, down: float
) -> Tensor:
    """λ_D (1 − σ(β (r − z))) for a liked answer, λ_U (1 − σ(β (z − r))) for a disliked one.

    Ethayarajh et al. 2024, KTO: Model Alignment as Prospect Theoretic Optimization, eq. 8
    (arXiv:2402.01306).

    Args:
        ratio_u: log-ratios [answers].
        desirable_u: the thumbs, bool [answers].
        shift: z, how far the model has moved (see `kto_shift`); a constant for the gradient.
        up, down: λ_D and λ_U.
    """
    sign = torch.where(desirable_u, 1.0, -1.0)
    weight = torch.where(desirable_u, up, down)
    return weight * torch.sigmoid(-beta * sign * (ratio_u - shift))


def kto_shift(mismatched_u: Tensor) -> float:
    """KTO's z: max(0, mean log-ratio of answers that belong to other prompts) (paper, sec. 4.1)."""
    return max(0.0, float(mismatched_u.detach().double().mean()))


def orpo_loss(
    chosen_u: Tensor,
    rejected_u: Tensor,
    chosen_tokens_u: Tensor,
    rejected_tokens_u: Tensor,
    beta: float,
) -> Tensor:
    """−ℓ_chosen − β log σ(log odds_chosen − log odds_rejected), for each pair; β is the paper's λ.

    ℓ = log π(y|x) / tokens of y, log odds = ℓ − log(1 − e^ℓ). The first term is the supervised
    loss of the chosen answer (the answer alone; TRL's includes the prompt), so ORPO needs neither
    a reference nor a supervised training before it.

    Hong et al. 2024, ORPO: Monolithic Preference Optimization without Reference Model, eq. 2, 3,
    6 and 7 (arXiv:2403.07691).

    Args:
        chosen_u, rejected_u: log π of the answers [pairs].
        chosen_tokens_u, rejected_tokens_u: their lengths in tokens.
    """
    chosen, rejected = chosen_u / chosen_tokens_u, rejected_u / rejected_tokens_u
    ratio = chosen - rejected - (_log1mexp(chosen) - _log1mexp(rejected))
    return -chosen - beta * logsigmoid(ratio)


def _log1mexp(log_p: Tensor) -> Tensor:
    """log(1 − e^ℓ) for ℓ < 0; an answer that is certain to float32 counts as almost certain."""
    return torch.log(-torch.expm1(log_p.clamp_max(-1e-6)))


@dataclass(frozen=True, slots=True)
class PairObjective:
    """The objective of DPO, IPO and ORPO: the sum of the pairs' losses, each by its weight."""

    method: Literal["dpo", "ipo", "orpo"]
    beta: float

    def __call__(self, logps_r: Tensor, units: Sequence[Unit]) -> Tensor:
        """Loss of `units`, each a `Pair`, whose rows have the log-probabilities `logps_r`."""
        pairs = cast(Sequence[Pair], units)
        chosen, rejected = logps_r.view(-1, 2).unbind(1)
        if self.method == "orpo":
            counts = [[row.trained_tokens for row in pair.rows] for pair in pairs]
            tokens = logps_r.new_tensor(counts)
            losses = orpo_loss(chosen, rejected, tokens[:, 0], tokens[:, 1], self.beta)
        else:
            loss = dpo_loss if self.method == "dpo" else ipo_loss
            reference = logps_r.new_tensor([_reference(pair) for pair in pairs])
            losses = loss(chosen - reference[:, 0], rejected - reference[:, 1], self.beta)
        return (losses * _weights(losses, units)).sum()


@dataclass(frozen=True, slots=True)
class ThumbObjective:
    """The objective of KTO for one step, whose `shift` was computed before it."""

    beta: float
    shift: float
    up: float
    down: float

    def __call__(self, logps_r: Tensor, units: Sequence[Unit]) -> Tensor:
        """Loss of `units`, each a `Thumb`, whose rows have the log-probabilities `logps_r`."""
        thumbs = cast(Sequence[Thumb], units)
        ratios = logps_r - logps_r.new_tensor([_reference(thumb)[0] for thumb in thumbs])
        liked = torch.tensor([thumb.desirable for thumb in thumbs], device=logps_r.device)
        losses = kto_loss(ratios, liked, self.shift, self.beta, self.up, self.down)
        return (losses * _weights(losses, units)).sum()


def objective_of(
    settings: FineTune, train: Sequence[Unit]
) -> Callable[[nn.Module, Sequence[Unit]], Objective]:
    """What makes the objective of a step (or of the whole validation set) from its units.

    For KTO the shift z is computed first, on all units of the step at once: were it taken from
    the rows that happen to go through the model together, the gradient would depend on the memory.

    Args:
        settings: method, beta and tokens_per_pass count; the method is not sft.
        train: all training units; KTO weighs the two kinds of thumbs by their numbers, so that
            both pull alike (the rarer kind by the quotient, the other by 1; paper, eq. 9).
    """
    if settings.method != "kto":
        assert settings.method != "sft"
        pairs = PairObjective(settings.method, settings.beta)
        return lambda model, units: pairs
    liked = sum(cast(Thumb, unit).desirable for unit in train)
    disliked = len(train) - liked
    most = max(liked, disliked)
    up, down = most / max(1, liked), most / max(1, disliked)

    def of_step(model: nn.Module, units: Sequence[Unit]) -> Objective:
        thumbs = cast(Sequence[Thumb], units)
        rows = [_mismatched(thumb) for thumb in thumbs]
        moved = sequence_logps(model, rows, settings.tokens_per_pass)
        ratios = moved - moved.new_tensor([_reference(thumb)[1] for thumb in thumbs])
        return ThumbObjective(settings.beta, kto_shift(ratios), up, down)

    return of_step


def mismatch(thumbs: Sequence[Thumb], limit: int) -> list[Thumb]:
    """The thumbs, each with the next answer in their order (cyclic) that has another prompt.

    The answer is cut where prompt and answer exceed `limit` tokens: it is measured, never learned.
    """
    split = [_split(thumb.rows[0]) for thumb in thumbs]
    several = len({tuple(prompt) for prompt, _ in split}) > 1
    made = []
    for place, (thumb, (prompt, _)) in enumerate(zip(thumbs, split, strict=True)):
        other = (place + 1) % len(thumbs)
        while several and split[other][0] == prompt:
            other = (other + 1) % len(thumbs)
        answer = split[other][1][: max(1, limit - len(prompt))]
        ids, trained = prompt + answer, [False] * len(prompt) + [True] * len(answer)
        row = TrainingSequence(ids, trained, name=thumb.rows[0].name)
        made.append(replace(thumb, mismatched=row))
    return made


def judged_rows(unit: Pair | Thumb) -> tuple[TrainingSequence, TrainingSequence]:
    """The two rows of a unit whose log-probabilities under the reference are needed."""
    if isinstance(unit, Pair):
        chosen, rejected = unit.rows
        return chosen, rejected
    return unit.rows[0], _mismatched(unit)


def _split(row: TrainingSequence) -> tuple[list[int], list[int]]:
    """Ids of the prompt and of the answer."""
    start = row.trained.index(True)
    return row.ids[:start], row.ids[start:]


def _mismatched(thumb: Thumb) -> TrainingSequence:
    assert thumb.mismatched is not None
    return thumb.mismatched


def _reference(unit: Pair | Thumb) -> tuple[float, float]:
    assert unit.reference is not None
    return unit.reference


def _weights(losses: Tensor, units: Sequence[Unit]) -> Tensor:
    return losses.new_tensor([unit.rows[0].weight for unit in units])
