"""What the trainer is fed: token ids with their mask, checked before the first step.

Everything here is plain Python and numpy, so that an estimate needs no torch.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from assay.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class TeacherDistribution:
    """A teacher's distribution at the trained tokens of a row.

    Attributes:
        ids: [n, k] int32, the tokens that the teacher holds likely at each of the n places.
        probs: [n, k] float32, their probabilities. What a place lacks to 1 belongs to all other
            tokens together.
    """

    ids: np.ndarray[Any, np.dtype[np.int32]]
    probs: np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """One rendered conversation.

    Attributes:
        ids: token ids, the whole conversation.
        trained: trained[i] says that ids[i] must be predicted from ids[:i]. The first token is
            predicted from nothing and never counts.
        weight: factor of this row's tokens in the loss.
        name: how an error names the row (the example's id).
        taught: what a teacher says of its trained tokens; None: each of them is certain.
    """

    ids: list[int] = field(repr=False)
    trained: list[bool] = field(repr=False)
    weight: float = 1.0
    name: str = ""
    taught: TeacherDistribution | None = field(default=None, repr=False)

    @property
    def trained_tokens(self) -> int:
        """Tokens that carry a loss."""
        return sum(self.trained[1:])

    @property
    def targets(self) -> list[int]:
        """The tokens that carry a loss, in order."""
        return [
            token for token, counts in zip(self.ids[1:], self.trained[1:], strict=True) if counts
        ]

    @property
    def inputs(self) -> list[int]:
        """The ids that have to be computed: those before the last trained one."""
        last = max((i for i, trained in enumerate(self.trained) if trained), default=0)
        return self.ids[:last]


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows whose losses depend on each other: one for supervised training, two for a pair.

    Attributes:
        reference: log π₀ of the rows of `measured`, under the model that the training starts from;
            None until it was computed, or where the method needs none.
    """

    rows: tuple[TrainingSequence, ...]
    reference: tuple[float, ...] | None = None

    @property
    def measured(self) -> tuple[TrainingSequence, ...]:
        """The rows whose log-probabilities under the reference are needed."""
        return self.rows

    @property
    def judgement(self) -> Any:
        """What is learned from beside the rows, JSON-ready; None: nothing."""
        return None


def alone(sequences: Sequence[TrainingSequence]) -> list[Unit]:
    """Each row a unit of its own."""
    return [Unit((row,)) for row in sequences]


def rows_of(units: Sequence[Unit]) -> list[TrainingSequence]:
    """The rows of all units, in order."""
    return [row for unit in units for row in unit.rows]


def judgements_of(units: Sequence[Unit]) -> list[Any]:
    """What the units say beside their rows, where they say something."""
    return [unit.judgement for unit in units if unit.judgement is not None]


def divisor(units: Sequence[Unit], *, of_tokens: bool) -> float:
    """What the sum of a step's losses is divided by: the weights of its tokens, or of its units."""
    if not of_tokens:
        return sum(unit.rows[0].weight for unit in units)
    return sum(row.weight * row.trained_tokens for row in rows_of(units))


def check_sequences(sequences: Sequence[TrainingSequence], kind: str, limit: int) -> None:
    """Refuse what cannot be trained on, before any time is spent.

    Args:
        sequences: rows of one split.
        kind: its name in messages ("training", "validation").
        limit: tokens that fit (the smaller of the model's context and `max_tokens`).

    Raises:
        DataError: a row without trained tokens, too long, or with an impossible weight; the message
            names the row.
    """
    for number, row in enumerate(sequences, start=1):
        where = f"{kind} row {number}" + (f" ({row.name})" if row.name else "")
        if len(row.ids) != len(row.trained):
            raise ValueError(f"{where}: {len(row.ids)} ids but a mask of {len(row.trained)}")
        if row.taught is not None and len(row.taught.ids) != row.trained_tokens:
            raise ValueError(f"{where}: a teacher of {len(row.taught.ids)} places")
        if not math.isfinite(row.weight) or row.weight < 0:
            raise DataError(
                f"the weight is {row.weight}.", where=where, fix="Use a number of at least 0."
            )
        if len(row.ids) > limit:
            raise DataError(
                f"the row has {len(row.ids)} tokens, {len(row.ids) - limit} more than the limit "
                f"of {limit}.",
                where=where,
                fix="Shorten or leave out the row, or raise fine_tune.max_tokens "
                "(at most the model's context).",
            )
        if not row.trained_tokens:
            raise DataError(
                "the row has no tokens to train on.",
                where=where,
                fix="Give it an assistant turn with text, or leave the row out.",
            )


def fingerprint(sequences: Sequence[TrainingSequence]) -> str:
    """Sha256 (hex) of ids, masks, weights and what a teacher says, in order."""
    digest = hashlib.sha256()
    for row in sequences:
        digest.update(f"{len(row.ids)} {row.weight!r}\n".encode())
        digest.update(array("q", row.ids).tobytes())
        digest.update(bytes(row.trained))
        if row.taught is not None:
            digest.update(b"taught %d %d\n" % row.taught.ids.shape)
            digest.update(row.taught.ids.tobytes())
            digest.update(row.taught.probs.tobytes())
    return digest.hexdigest()


def epoch_order(rows: int, seed: int, epoch: int) -> list[int]:
    """Order of the rows in one epoch (counted from 0).

    A function of seed and epoch alone: a resumed run needs no stored generator to go on exactly
    where it was.
    """
    order: list[int] = np.random.default_rng([seed, epoch]).permutation(rows).tolist()
    return order


def dropout_seed(seed: int, step: int) -> int:
    """A seed of its own for each step, so that a resumed run drops what the first would have."""
    digest = hashlib.sha256(f"{seed} {step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def packed_batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Places of rows that lie one behind the other, longest first.

    A batch holds at most `tokens` tokens, but always one row.
    """
    batches: list[list[int]] = []
    held = 0
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or held + lengths[place] > tokens:
            batches.append([])
            held = 0
        batches[-1].append(place)
        held += lengths[place]
    return batches


def padded_batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Places of rows of similar length, for models whose rows can be neither shared nor packed.

    Longest first, so that memory runs out at once or not at all. A batch holds at most `tokens`
    tokens, padding included, but always one row.
    """
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        last = batches[-1] if batches else None
        if last and (len(last) + 1) * lengths[last[0]] <= tokens:
            last.append(place)
        else:
            batches.append([place])
    return batches
