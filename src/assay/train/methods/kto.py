"""`kto`: Kahneman-Tversky Optimization, from thumbs up and down.

Ethayarajh et al. 2024, KTO: Model Alignment as Prospect Theoretic Optimization, eq. 8 and 9
(arXiv:2402.01306).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from assay.config import FineTune
from assay.errors import DataError
from assay.train.methods.spec import MethodSpec
from assay.train.preference import numbers_like, weights
from assay.train.sequences import TrainingSequence, Unit
from assay.train.units import Thumb

if TYPE_CHECKING:
    from torch import Tensor, nn

    from assay.train.objective import Objective, ObjectiveOf


def loss(
    ratio_u: Tensor, desirable_u: Tensor, shift: Tensor, beta: float, up: float, down: float
) -> Tensor:
    """λ_D (1 − σ(β (r − z))) for a liked answer, λ_U (1 − σ(β (z − r))) for a disliked one.

    Args:
        ratio_u: log-ratios log π(y|x) − log π₀(y|x) [answers].
        desirable_u: the thumbs, bool [answers].
        shift: z, how far the model has moved; a constant for the gradient.
        up, down: λ_D and λ_U.
    """
    import torch

    sign = torch.where(desirable_u, 1.0, -1.0)
    weight = torch.where(desirable_u, up, down)
    return weight * torch.sigmoid(-beta * sign * (ratio_u - shift))


def shift_of(mismatched_u: Tensor) -> Tensor:
    """z: max(0, mean log-ratio of answers that belong to other prompts) (paper, sec. 4.1)."""
    return mismatched_u.detach().double().mean().clamp_min(0)


@dataclass(frozen=True, slots=True)
class ThumbObjective:
    """The objective of one step, whose `shift`, a scalar, was computed before it."""

    beta: float
    shift: Tensor
    up: float
    down: float

    def __call__(self, logps_r: Tensor, units: Sequence[Unit]) -> Tensor:
        """Loss of `units`, each a `Thumb`, whose rows have the log-probabilities `logps_r`."""
        thumbs = _thumbs(units)
        ratios = logps_r - numbers_like(logps_r, [_reference(thumb)[0] for thumb in thumbs])
        liked = numbers_like(logps_r, [thumb.desirable for thumb in thumbs]).bool()
        losses = loss(ratios, liked, self.shift, self.beta, self.up, self.down)
        return (losses * weights(losses, units)).sum()


def objective(settings: FineTune, train: Sequence[Unit]) -> ObjectiveOf:
    """The shift z is computed before each step, on all its units at once: were it taken from the
    rows that happen to go through the model together, the gradient would depend on the memory.

    Args:
        train: the two kinds of thumbs weigh by their numbers, so that both pull alike (the rarer
            kind by the quotient, the other by 1).
    """
    from assay.train.step import sequence_logps

    liked = sum(thumb.desirable for thumb in _thumbs(train))
    disliked = len(train) - liked
    most = max(liked, disliked)
    up, down = most / max(1, liked), most / max(1, disliked)

    def of_step(model: nn.Module, units: Sequence[Unit]) -> Objective:
        thumbs = _thumbs(units)
        rows = [thumb.measured[-1] for thumb in thumbs]
        moved = sequence_logps(model, rows, settings.tokens_per_pass)
        ratios = moved - numbers_like(moved, [_reference(thumb)[1] for thumb in thumbs])
        return ThumbObjective(settings.beta, shift_of(ratios), up, down)

    return of_step


def mismatch(units: Sequence[Unit], limit: int) -> list[Unit]:
    """The thumbs, each with the next answer in their order (cyclic) that has another prompt.

    The answer is cut where prompt and answer exceed `limit` tokens: it is measured, never learned.
    """
    thumbs = _thumbs(units)
    split = [_split(thumb.rows[0]) for thumb in thumbs]
    several = len({tuple(prompt) for prompt, _ in split}) > 1
    made: list[Unit] = []
    for place, (thumb, (prompt, _)) in enumerate(zip(thumbs, split, strict=True)):
        other = (place + 1) % len(thumbs)
        while several and split[other][0] == prompt:
            other = (other + 1) % len(thumbs)
        answer = split[other][1][: max(1, limit - len(prompt))]
        ids, trained = prompt + answer, [False] * len(prompt) + [True] * len(answer)
        row = TrainingSequence(ids, trained, name=thumb.rows[0].name)
        made.append(replace(thumb, mismatched=row))
    return made


def check_both(train: Sequence[Unit]) -> None:
    """Refuse thumbs that are all alike.

    Raises:
        DataError: they are.
    """
    kinds = {thumb.desirable for thumb in _thumbs(train)}
    if len(kinds) == 1:
        raise DataError(
            f"every training row has a thumb {'up' if True in kinds else 'down'}.",
            fix="fine_tune.method kto learns from the difference, so it needs both; use "
            "sft for answers that are all good.",
        )


def _split(row: TrainingSequence) -> tuple[list[int], list[int]]:
    """Ids of the prompt and of the answer."""
    start = row.trained.index(True)
    return row.ids[:start], row.ids[start:]


def _thumbs(units: Sequence[Unit]) -> Sequence[Thumb]:
    return cast(Sequence[Thumb], units)


def _reference(thumb: Thumb) -> tuple[float, ...]:
    assert thumb.reference is not None
    return thumb.reference


SPEC = MethodSpec(
    name="kto",
    title="learn from thumbs up and down",
    explanation="Raises the answers that were liked and lowers the others, held to where it "
    "started.",
    learns_from="thumbs",
    formula="λ (1 − σ(±β (r − z)))",
    objective=objective,
    reference=True,
    rate=1 / 20,
    prepare=mismatch,
    check=check_both,
    proposed=True,
)
