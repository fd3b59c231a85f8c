"""How much general ability a tuned version lost against its base: pure figures, no model.

Both are put to the same built-in probe (`evaluate/probe.py` runs it). The paragraphs and the
instructions are paired, so that what is compared is each of them before and after training.
See docs/training.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np

from assay.config.strict import Strict
from assay.evaluate.resampling import studentise, units

LEVEL = 0.05
RESAMPLES = 10_000
SMALL = 0.05
"""Nats per token, about 5 % of perplexity: a loss that is surely there and seldom matters."""
MOST_FORGOTTEN = 3
"""Of the instructions that are followed no more, so many are shown with both answers."""

Row = TypeVar("Row", "ParagraphLoss", "InstructionAnswer")


class ParagraphLoss(Strict):
    """One paragraph as a model predicts it.

    Attributes:
        nats: sum of the token cross-entropies; `tokens` is how many were predicted.
    """

    kind: str
    tokens: int
    nats: float


class InstructionAnswer(Strict):
    """One instruction, what a model answered, and whether that is what was asked for."""

    kind: str
    instruction: str
    answer: str
    followed: bool


class GeneralAbility(Strict):
    """What one model can do in general; `probe` is the digest of what it was asked."""

    probe: str
    paragraphs: tuple[ParagraphLoss, ...]
    instructions: tuple[InstructionAnswer, ...]


class KindFigures(Strict):
    """One kind of paragraph or instruction, before and after training."""

    kind: str
    base: float
    tuned: float


class Ability(Strict):
    """One ability before and after training.

    Attributes:
        lost: positive is worse, whichever way `base` and `tuned` count.
        low, high: 95 % interval of `lost`, from resampling the probe's paired items.
        items: paragraphs or instructions in the probe.
    """

    base: float
    tuned: float
    lost: float
    low: float
    high: float
    items: int
    kinds: tuple[KindFigures, ...]


class ForgottenInstruction(Strict):
    """An instruction that the base followed and the tuned version does not."""

    instruction: str
    before: str
    after: str


class Forgetting(Strict):
    """What a tuned version lost of its base's general ability.

    Attributes:
        version: of this account; raised when a field changes its meaning.
        probe: sha256 of the probe; figures of two probes cannot be compared.
        text: nats per token on general text; e to that power is the perplexity.
        instructions: share of simple instructions that are followed.
        forgotten: some of the instructions that are followed no more.
    """

    version: Literal[1] = 1
    probe: str
    text: Ability
    instructions: Ability
    forgotten: tuple[ForgottenInstruction, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether instructions are surely followed less, or text is predicted worse by more than
        a little."""
        return self.text.low > SMALL or self.instructions.low > 0


def forgetting(base: GeneralAbility, tuned: GeneralAbility) -> Forgetting:
    """Compare two accounts of the same probe.

    Raises:
        ValueError: they are of different probes.
    """
    if base.probe != tuned.probe:
        raise ValueError("results of different probes cannot be compared")
    return Forgetting(
        probe=base.probe,
        text=_text(base.paragraphs, tuned.paragraphs),
        instructions=_instructions(base.instructions, tuned.instructions),
        forgotten=_forgotten(base.instructions, tuned.instructions),
    )


def _forgotten(
    base: Sequence[InstructionAnswer], tuned: Sequence[InstructionAnswer]
) -> tuple[ForgottenInstruction, ...]:
    """The first of each kind, so that they show different things."""
    by_kind: dict[str, ForgottenInstruction] = {}
    for b, t in zip(base, tuned, strict=True):
        if b.followed and not t.followed:
            by_kind.setdefault(
                b.kind,
                ForgottenInstruction(instruction=b.instruction, before=b.answer, after=t.answer),
            )
    return tuple(by_kind.values())[:MOST_FORGOTTEN]


def _text(base: Sequence[ParagraphLoss], tuned: Sequence[ParagraphLoss]) -> Ability:
    """Nats per token, with the percentiles of whole paragraphs drawn again.

    Percentiles, for a cross-entropy has no upper bound: the limits of `studentise` need bounds, and
    without them are infinite where few paragraphs differ.
    """
    more = np.array([t.nats - b.nats for b, t in zip(base, tuned, strict=True)])
    sizes = np.array([float(row.tokens) for row in base])
    drawn = _rng().integers(0, len(more), (RESAMPLES, len(more)))
    again = more[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(again, [LEVEL / 2, 1 - LEVEL / 2])
    return _ability(base, tuned, _nats_per_token, more.sum() / sizes.sum(), low, high)


def _instructions(base: Sequence[InstructionAnswer], tuned: Sequence[InstructionAnswer]) -> Ability:
    """Share followed; with few or no changes the exact limits of rare events apply."""
    lost = np.array(
        [[float(b.followed) - float(t.followed)] for b, t in zip(base, tuned, strict=True)]
    )
    mean = studentise(units(lost), RESAMPLES, _rng(), least=-1.0, most=1.0)
    (low,), (high,) = mean.interval(LEVEL)
    return _ability(base, tuned, _share_followed, lost.mean(), low, high)


def _ability(
    base: Sequence[Row],
    tuned: Sequence[Row],
    figure: Callable[[Sequence[Row]], float],
    lost: float,
    low: float,
    high: float,
) -> Ability:
    kinds = list(dict.fromkeys(row.kind for row in base))
    return Ability(
        base=figure(base),
        tuned=figure(tuned),
        lost=float(lost),
        low=float(low),
        high=float(high),
        items=len(base),
        kinds=tuple(
            KindFigures(
                kind=kind,
                base=figure([row for row in base if row.kind == kind]),
                tuned=figure([row for row in tuned if row.kind == kind]),
            )
            for kind in kinds
        ),
    )


def _nats_per_token(rows: Sequence[ParagraphLoss]) -> float:
    return sum(row.nats for row in rows) / sum(row.tokens for row in rows)


def _share_followed(rows: Sequence[InstructionAnswer]) -> float:
    return sum(row.followed for row in rows) / len(rows)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)
