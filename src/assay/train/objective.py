"""What a step minimises: the cross-entropy of single tokens, or what a method has instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, device, nn

from assay.train.loss import Head, LogpLoss, TokenLoss, at_temperature, backward_logps
from assay.train.sequences import Unit


class Objective(Protocol):
    """What is minimised, where it is not the cross-entropy of single tokens."""

    def __call__(self, logps_r: Tensor, units: Sequence[Unit]) -> Tensor:
        """The sum of the units' losses, a scalar.

        Args:
            logps_r: [R] log-probability (nats) of each row's trained tokens together, float32, in
                the order of the units and of the rows in them.
        """


@dataclass(frozen=True, slots=True)
class TokenObjective:
    """A loss of single tokens in the place of the cross-entropy: weighed and divided as that."""

    loss: TokenLoss


@dataclass(frozen=True, slots=True)
class LogpObjective:
    """A loss of single tokens that their log-probabilities alone decide.

    Attributes:
        of_pass: called with the units of a pass and the device that computes them; takes the
            log-probabilities of their trained tokens, in the order of the units, of the rows in
            them and of the tokens in these.
        temperature: of these log-probabilities: logits are divided by it.
    """

    of_pass: Callable[[Sequence[Unit], device], LogpLoss]
    temperature: float = 1.0

    def backward(
        self, head: Head, hidden_nd: Tensor, targets_n: Tensor, units: Sequence[Unit], factor: float
    ) -> Tensor:
        """`factor` times the loss of a pass, a float64 scalar; its gradient is added."""
        head = at_temperature(head, self.temperature)
        loss = self.of_pass(units, hidden_nd.device)
        return backward_logps(loss, head, hidden_nd, targets_n, factor)


AnyObjective = Objective | TokenObjective | LogpObjective | None
"""What is minimised; None: the cross-entropy of single tokens."""

ObjectiveOf = Callable[[nn.Module, Sequence[Unit]], Objective | TokenObjective]
"""Makes what a step minimises from the model as it is and the step's units."""


def of_tokens(objective: AnyObjective) -> bool:
    """Whether single tokens are learned: losses are then means over tokens, else over units."""
    return objective is None or isinstance(objective, TokenObjective | LogpObjective)
