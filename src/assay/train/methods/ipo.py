"""`ipo`: Identity Preference Optimization.

Azar et al. 2023, A General Theoretical Paradigm to Understand Learning from Human Preferences,
eq. 17 (arXiv:2310.12036). As printed there: the log-ratio is a sum over the answer's tokens. TRL
divides each by its answer's length first; its loss is another one, and its β too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.train.methods.spec import MethodSpec
from assay.train.preference import PairLogps

if TYPE_CHECKING:
    from torch import Tensor


def loss(pairs: PairLogps, beta: float) -> Tensor:
    """(r_chosen − r_rejected − 1 / (2β))², for each pair; β is the paper's τ.

    Args:
        beta: the margin that is aimed at is 1 / (2β) nats.
    """
    chosen, rejected = pairs.ratios
    return (chosen - rejected - 1 / (2 * beta)) ** 2


SPEC = MethodSpec(
    name="ipo",
    title="learn from preferences",
    explanation="As dpo, but aims at a fixed margin instead of an ever larger one.",
    learns_from="pairs",
    formula="(r_c − r_r − 1/(2β))²",
    pair_loss=loss,
    reference=True,
    rate=1 / 20,
)
