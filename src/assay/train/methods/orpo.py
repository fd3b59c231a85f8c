"""`orpo`: Odds Ratio Preference Optimization; neither a reference nor a training before it.

Hong et al. 2024, ORPO: Monolithic Preference Optimization without Reference Model, eq. 2, 3, 6 and
7 (arXiv:2403.07691). The supervised term is the loss of the answer alone; TRL's has the prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.train.methods.spec import MethodSpec
from assay.train.preference import PairLogps

if TYPE_CHECKING:
    from torch import Tensor


def loss(pairs: PairLogps, beta: float) -> Tensor:
    """−ℓ_chosen − β log σ(log odds_chosen − log odds_rejected), for each pair; β is the paper's λ.

    ℓ = log π(y|x) / tokens of y, log odds = ℓ − log(1 − e^ℓ).
    """
    from torch.nn.functional import logsigmoid

    chosen = pairs.chosen / pairs.chosen_tokens
    rejected = pairs.rejected / pairs.rejected_tokens
    ratio = chosen - rejected - (_log1mexp(chosen) - _log1mexp(rejected))
    return -chosen - beta * logsigmoid(ratio)


def _log1mexp(log_p: Tensor) -> Tensor:
    """log(1 − e^ℓ) for ℓ < 0; an answer that is certain to float32 counts as almost certain."""
    import torch

    return torch.log(-torch.expm1(log_p.clamp_max(-1e-6)))


SPEC = MethodSpec(
    name="orpo",
    title="learn from answers and preferences",
    explanation="Learns the better answer, and the difference to the worse one, in one training.",
    learns_from="pairs",
    formula="−ℓ_c − β log σ(log odds_c − log odds_r)",
    pair_loss=loss,
    rate=1 / 4,
    proposed=True,
)
