"""The loss of GRPO, token by token, and the figures that belong to it.

Of a token with log-probability ℓ, r = exp(ℓ − ℓ_old) and the advantage A of its answer:

    −min(r A, clip(r, 1 − low, 1 + high) A) + β (exp(ℓ_ref − ℓ) − (ℓ_ref − ℓ) − 1)

summed over all tokens of a step and divided by their number.

- A is the reward minus the mean of the group, not divided by the group's standard deviation, which
  would give easy and hard prompts more weight (Dr. GRPO, Liu et al. 2025, arXiv:2503.20783).
- One divisor for all tokens of the step: within an answer's own mean, a token of a long answer
  would count less (DAPO, Yu et al. 2025, arXiv:2503.14476, sec. 3.3; the same source as above).
- The two bounds differ, so that unlikely tokens can become likely (clip-higher, DAPO, sec. 3.1).
- A group whose answers are all worth the same has no gradient but that of the last term; without
  it, it is not computed (DAPO draws again instead, sec. 3.2).
- The last term is the estimator k3 of the KL divergence from the model that the training started
  from (Schulman 2020, Approximating KL Divergence; DeepSeekMath, arXiv:2402.03300, eq. 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from assay.config.reinforcement import Reinforcement
from assay.models.device import to_device
from assay.train.loss import LogpLoss, at_temperature, logits_head, token_losses
from assay.train.objective import LogpObjective
from assay.train.sequences import TrainingSequence, Unit, alone
from assay.train.step import causal_lm, each_pass, evaluating, in_passes, running, trained_states


@dataclass(slots=True)
class TokenLogps:
    """Log-probabilities of an answer's tokens, [T] each; None until they are computed.

    Attributes:
        drawn: by the model that has drawn the answer, as the first update of a step finds them.
        reference: by the model that the training started from.
    """

    drawn: Tensor | None = None
    reference: Tensor | None = None


@dataclass(frozen=True, slots=True)
class DrawnAnswer(Unit):
    """A prompt and one of the answers drawn to it; `rows` holds both as one row.

    Attributes:
        advantage: see `advantages`.
        logps: what updates of the same step share.
    """

    advantage: float = 0.0
    logps: TokenLogps = field(default_factory=TokenLogps)


def advantages(rewards: Sequence[float]) -> list[float]:
    """Each reward of a group minus their mean; all 0 where all are equal."""
    if min(rewards) == max(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    return [reward - mean for reward in rewards]


T = TypeVar("T")


def groups_of(values: Sequence[T], group: int) -> list[Sequence[T]]:
    """What belongs to one prompt's answers, after what belongs to another's."""
    return [values[at : at + group] for at in range(0, len(values), group)]


def objective(settings: Reinforcement) -> LogpObjective:
    """What the units of a step, all of them `DrawnAnswer`, are trained by."""

    def of_pass(units: Sequence[Unit], device: torch.device) -> LogpLoss:
        answers = cast("Sequence[DrawnAnswer]", units)
        counts = [answer.rows[0].trained_tokens for answer in answers]
        first = [answer.logps.drawn is None for answer in answers]
        drawn = torch.cat(
            [
                torch.zeros(count, device=device)
                if answer.logps.drawn is None
                else answer.logps.drawn
                for answer, count in zip(answers, counts, strict=True)
            ]
        )
        for answer, of_answer in zip(answers, torch.split(drawn, counts), strict=True):
            answer.logps.drawn = of_answer
        unknown, advantage, weight = (
            to_device(torch.repeat_interleave(torch.tensor(values), torch.tensor(counts)), device)
            for values in (
                first,
                [answer.advantage for answer in answers],
                [answer.rows[0].weight for answer in answers],
            )
        )
        known = [answer.logps.reference for answer in answers]
        reference = torch.cat(cast("list[Tensor]", known)) if settings.beta else None

        def loss(logps: Tensor, at: slice) -> tuple[Tensor, Tensor]:
            drawn[at] = torch.where(unknown[at], logps, drawn[at])
            losses, slopes = token_loss(
                logps,
                drawn[at],
                advantage[at],
                settings,
                None if reference is None else reference[at],
            )
            return (losses * weight[at]).sum(), slopes * weight[at]

        return loss

    return LogpObjective(of_pass, settings.temperature)


def token_loss(
    logps: Tensor,
    drawn: Tensor,
    advantage: Tensor,
    settings: Reinforcement,
    reference: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The loss of each token, and its slope by the token's log-probability; all [n]."""
    ratio = (logps - drawn).exp()
    free = ratio * advantage
    held = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high) * advantage
    loss = -torch.minimum(free, held)
    slope = torch.where(free <= held, -free, torch.zeros_like(free))
    if reference is not None:
        apart = reference - logps
        loss = loss + settings.beta * (apart.exp() - apart - 1)
        slope = slope + settings.beta * (1 - apart.exp())
    return loss, slope


def token_logps(
    model: nn.Module, rows: Sequence[TrainingSequence], tokens: int, temperature: float
) -> list[Tensor]:
    """Log-probabilities (nats) of each row's trained tokens, float32 on the model's device, which
    is not waited for; no gradients.

    Args:
        tokens: of a pass, see `assay.train.step.step`.
        temperature: see `LogpObjective`.
    """
    found: dict[int, Tensor] = {}
    with evaluating(model), running(model):
        head = at_temperature(logits_head(causal_lm(model)), temperature)
        for places, trunk in each_pass(model, in_passes(model, alone(rows), tokens)):
            members = [rows[place] for place in places]
            hidden, targets, _ = trained_states(model, members, trunk)
            logps = -token_losses(head, hidden, targets)
            parts = torch.split(logps, [row.trained_tokens for row in members])
            found.update(zip(places, parts, strict=True))
    return [found[place] for place in range(len(rows))]


def divergence(logps: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """Mean of k3 over all tokens: how far the model that drew them is from the reference (nats)."""
    apart = (torch.cat([*reference]) - torch.cat([*logps])).double()
    return float((apart.exp() - apart - 1).mean())
