"""What is counted of the steps of a training: tokens a second, what sharing prefixes saves, and
how often the model's first choice is the token that follows, at no pass of its own.

    with counting_hits() as hits:
        loss, _ = step(model, units)
    hits.right / hits.tokens           # of the trained tokens of all units

The loss has the logits of every trained token for a moment; `note` looks at them then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(slots=True)
class Throughput:
    """Of one training step, or of several.

    Attributes:
        tokens: of the step's rows, as they were rendered.
        computed: that went through the model: shared ones once, padding included.
    """

    tokens: int = 0
    computed: int = 0
    seconds: float = 0.0

    def add(self, other: Throughput) -> None:
        """Add the tokens and seconds of further steps."""
        self.tokens += other.tokens
        self.computed += other.computed
        self.seconds += other.seconds

    @property
    def tokens_per_s(self) -> float:
        """Tokens that the model computes in a second."""
        return self.computed / self.seconds if self.seconds else 0.0

    @property
    def effective_tokens_per_s(self) -> float:
        """Tokens of the data that are dealt with in a second."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def saved(self) -> float:
        """Share of the tokens that sharing has left out; below 0 where padding adds some."""
        return 1 - self.computed / self.tokens if self.tokens else 0.0


@contextmanager
def counting(model: nn.Module) -> Iterator[Throughput]:
    """Within the block, the tokens that reach the model's embedding are counted."""
    count = Throughput()

    def seen(_module: nn.Module, arguments: tuple[Any, ...], _output: Tensor) -> None:
        count.computed += arguments[0].numel()

    hook = model.get_input_embeddings().register_forward_hook(seen)  # type: ignore[operator]
    try:
        yield count
    finally:
        hook.remove()


@dataclass(slots=True)
class Hits:
    """What was counted."""

    tokens: int = 0
    _right: Tensor | int = 0

    @property
    def right(self) -> int:
        """Tokens whose logit was the largest."""
        return int(self._right)


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
    hits._right = hits._right + right.sum()  # not read before the end: a GPU goes on
