"""What the losses of judged answers are computed from, and the objectives that they make.

Notation: x is a prompt, y an answer to it, log π(y|x) the sum of the log-probabilities of its
tokens under the model in training, log π₀(y|x) the same under the model the training starts from
(the reference). All are natural logarithms; sums, not means, over an answer's tokens.

A loss is a function of these, one number for each unit (`assay.train.methods` has them, one file a
method). The step calls the objective with the log-probabilities of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.models.device import to_device
from assay.train.sequences import Unit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class PairLogps:
    """What is known of pairs when their losses are computed; every tensor is [pairs].

    Attributes:
        chosen, rejected: log π(y|x).
        chosen_reference, rejected_reference: log π₀(y|x); zeros where the method needs none.
        chosen_tokens, rejected_tokens: how many tokens the answers have.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_reference: Tensor
    rejected_reference: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    @property
    def ratios(self) -> tuple[Tensor, Tensor]:
        """log π − log π₀ of the chosen and of the rejected answers."""
        return self.chosen - self.chosen_reference, self.rejected - self.rejected_reference


PairLoss = Callable[[PairLogps, float], "Tensor"]
"""Called with pairs and `fine_tune.beta`; the loss of each pair."""


@dataclass(frozen=True, slots=True)
class PairObjective:
    """The sum of the pairs' losses, each by its weight."""

    loss: PairLoss
    beta: float

    def __call__(self, logps_r: Tensor, units: Sequence[Unit]) -> Tensor:
        """Loss of `units`, each a pair, whose rows have the log-probabilities `logps_r`."""
        chosen, rejected = logps_r.view(-1, 2).unbind(1)
        reference = numbers_like(logps_r, [unit.reference or (0.0, 0.0) for unit in units])
        tokens = numbers_like(
            logps_r, [[row.trained_tokens for row in unit.rows] for unit in units]
        )
        known = PairLogps(chosen, rejected, *reference.unbind(1), *tokens.unbind(1))
        losses = self.loss(known, self.beta)
        return (losses * weights(losses, units)).sum()


def weights(losses: Tensor, units: Sequence[Unit]) -> Tensor:
    """The factors of the units' losses, [units]."""
    return numbers_like(losses, [unit.rows[0].weight for unit in units])


def numbers_like(like: Tensor, values: Sequence[Any]) -> Tensor:
    """Numbers on the device and of the type of `like`; what it is computing is not waited for."""
    import torch

    return to_device(torch.tensor(values, dtype=like.dtype), like.device)
