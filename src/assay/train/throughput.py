"""How fast a training is, and what sharing prefixes saves it, counted where it happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
