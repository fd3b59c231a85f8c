"""How often the model's first choice is the token that follows, at no pass of its own.

    with counting_hits() as hits:
        loss, _ = step(model, units)
    hits.accuracy                      # of the trained tokens of all units

The loss has the logits of every trained token for a moment; `note` looks at them then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(slots=True)
class Hits:
    """What was counted."""

    tokens: int = 0
    _right: list[Tensor] = field(default_factory=list)

    @property
    def accuracy(self) -> float | None:
        """Share of the tokens whose logit was the largest; None when there were none."""
        if not self.tokens:
            return None
        return sum(int(right) for right in self._right) / self.tokens


_COUNTED: ContextVar[Hits | None] = ContextVar("counted", default=None)


@contextmanager
def counting_hits(wanted: bool = True) -> Iterator[Hits]:
    """Within the block, all cross-entropies of this thread are looked at."""
    hits = Hits()
    token = _COUNTED.set(hits if wanted else None)
    try:
        yield hits
    finally:
        _COUNTED.reset(token)


def note(logits_nv: Tensor, targets_n: Tensor) -> None:
    """Count logits [n, V] against the tokens that follow [n], if somebody counts."""
    hits = _COUNTED.get()
    if hits is None:
        return
    logits = logits_nv.detach()
    right = logits.gather(-1, targets_n[:, None])[:, 0] >= logits.amax(-1)
    hits.tokens += len(targets_n)
    hits._right.append(right.sum())  # not read before the end: a GPU goes on
