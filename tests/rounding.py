"""How far apart two orders of one computation may end, by number format and sizes.

    torch.testing.assert_close(ours, theirs, **near(theirs, model))
    assert distance <= rounding(model, backward=True)

Processors add the products of a sum up in different orders, by their instruction sets, and the
same one does so by how many rows are computed together. Each addition rounds by half of `eps` at
most, up or down as by chance: so a sum of n terms ends within a few eps·√n of the values it is made
of, and a chain of c such sums within a few eps·√(c·n) (Higham and Mary, A New Approach to
Probabilistic Rounding Error Analysis, 2019). What the tests are to find, a token that sees another
row or a term left out, is orders of magnitude above that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

PRODUCTS = 6
"""One behind the other in a layer: keys, scores, mixture, output, gate, down."""
DEVIATIONS = 5.0
"""Of the random walk: none of the millions of values of all tests lies beyond by chance."""


def rounding(
    model: nn.Module, dtype: torch.dtype = torch.float32, *, backward: bool = False
) -> float:
    """Relative to the largest value (of a gradient: to its norm).

    Args:
        backward: a gradient, behind which lie the products forward, and as many again.
    """
    config: Any = model.config.get_text_config()  # type: ignore[operator,union-attr]
    chain = (2 if backward else 1) * (PRODUCTS * config.num_hidden_layers + 1)
    vocabulary = config.vocab_size
    terms = max(n for p in model.parameters() for n in p.shape if n != vocabulary)
    return float(DEVIATIONS * torch.finfo(dtype).eps / 2 * (chain * terms) ** 0.5)


def near(values: Tensor, model: nn.Module, dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """The tolerances of `assert_close` for what the model computes."""
    return {"rtol": 0.0, "atol": rounding(model, dtype) * float(values.detach().abs().max())}
