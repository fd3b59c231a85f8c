"""Which prompts are generated together, and what every decoder can do with them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from assay.prefix.tree import Node

if TYPE_CHECKING:
    from torch import Tensor

MOST_ROWS = 256


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts that are generated together.

    Attributes:
        members: their places in the sequence that was planned.
        prompts: their tokens.
        nodes: the deepest shared node of each, None where there is none.
        slots: tokens of its own that the largest of them may come to hold.
    """

    members: tuple[int, ...]
    prompts: tuple[tuple[int, ...], ...]
    nodes: tuple[Node | None, ...]
    slots: int

    def halves(self) -> tuple[Batch, Batch]:
        """The first and the second half, for when memory does not suffice for the whole."""
        middle = len(self.members) // 2
        return tuple(
            Batch(self.members[s], self.prompts[s], self.nodes[s], self.slots)
            for s in (slice(None, middle), slice(middle, None))
        )  # type: ignore[return-value]


class Decoder(Protocol):
    """Next-token logits for the rows of a batch."""

    def running(self) -> AbstractContextManager[None]:
        """The block inside which the other methods may be called."""

    def batches(
        self, prompts: Sequence[tuple[int, ...]], room: Sequence[int], slots: int
    ) -> list[Batch]:
        """All prompts in batches of rows that go well together.

        Args:
            room: tokens that may be generated for each.
            slots: most tokens whose keys and values a batch may hold.
        """

    def begin(self, batch: Batch) -> Tensor:
        """Logits [B, V] (float32) after each prompt of a batch."""

    def step(self, rows: Sequence[int], tokens: Tensor) -> Tensor:
        """Logits [n, V] after one more token for each of n rows (ascending); the others wait.

        Args:
            tokens: [n] int64, on the model's device; they are not read here.
        """

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows (ascending) only and free the memory of the others."""
