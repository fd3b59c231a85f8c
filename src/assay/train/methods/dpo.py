"""`dpo`: Direct Preference Optimization.

Rafailov et al. 2023, Direct Preference Optimization, eq. 7 (arXiv:2305.18290).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.train.methods.spec import MethodSpec
from assay.train.preference import PairLogps

if TYPE_CHECKING:
    from torch import Tensor


def loss(pairs: PairLogps, beta: float) -> Tensor:
    """−log σ(β (r_chosen − r_rejected)), for each pair; r is the log-ratio.

    Args:
        beta: how costly it is to move away from the reference.
    """
    from torch.nn.functional import logsigmoid

    chosen, rejected = pairs.ratios
    return -logsigmoid(beta * (chosen - rejected))


SPEC = MethodSpec(
    name="dpo",
    title="learn from preferences",
    explanation="Raises the better answer over the worse one, held to where it started.",
    learns_from="pairs",
    formula="−log σ(β (r_c − r_r))",
    pair_loss=loss,
    reference=True,
    rate=1 / 20,
)
