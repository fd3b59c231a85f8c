"""How a training that learns from graders goes, and when its reward is not to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from assay.generate.transformers.batch import Draw

GRAM = 4
SHOWN_PROMPTS, LONGEST = 2, 500
"""Prompts of a step whose answers are shown, and characters of each answer."""
RISE = 0.05
"""Of the reward, from which on it has risen: less is what other prompts make of it."""


@dataclass(slots=True)
class RewardPoint:
    """What was measured after some steps; validation is answered greedily.

    Attributes:
        step: steps done.
        reward: mean of the answers drawn since the point before; None before the first step.
        taught: share of the groups since then whose answers were not all worth the same; None
            likewise.
        valid_reward: mean on validation.
        others: means of other graders on validation, by name.
        answer_tokens: mean length of an answer on validation.
        repeated: share of the runs of four tokens in these answers that the same answer had before.
        kl: k3 of the answers of this step, drawn by the model before its last updates, from the
            model that the training started from, nats per token; None before the first step.
    """

    step: int
    reward: float | None = None
    taught: float | None = None
    valid_reward: float | None = None
    others: dict[str, float] = field(default_factory=dict)
    answer_tokens: float | None = None
    repeated: float | None = None
    kl: float | None = None


class Rollout(NamedTuple):
    """An answer that was drawn, cut where it is long, by the id of its row; its worth."""

    row: str
    answer: str
    reward: float


def rollouts_of(
    rows: Sequence[str], texts: Sequence[str], rewards: Sequence[float], group: int
) -> tuple[Rollout, ...]:
    """The answers to the first prompts of a step, each prompt's best first.

    Args:
        rows: ids, as many as answers.
    """
    first = [
        Rollout(row, text if len(text) <= LONGEST else f"{text[:LONGEST]} …", reward)
        for row, text, reward in zip(rows, texts, rewards, strict=True)
    ][: SHOWN_PROMPTS * group]
    places = {row: place for place, row in enumerate(dict.fromkeys(one.row for one in first))}
    return tuple(sorted(first, key=lambda one: (places[one.row], -one.reward)))


def answer_tokens(drawn: Sequence[Draw]) -> float:
    """Mean number of tokens of an answer, its end included."""
    return sum(len(one.ids) for one in drawn) / len(drawn)


def repeated(drawn: Sequence[Draw]) -> float:
    """Share of the runs of `GRAM` tokens that were there before in the same answer."""
    runs = again = 0
    for one in drawn:
        grams = [one.ids[i : i + GRAM] for i in range(len(one.ids) - GRAM + 1)]
        runs += len(grams)
        again += len(grams) - len(set(grams))
    return again / runs if runs else 0.0


def warnings_of(points: Sequence[RewardPoint], best_step: int, primary: str) -> tuple[str, ...]:
    """What a reader must know of a training.

    Args:
        best_step: after which the version was taken.
        primary: the grader that decides; where it was not asked, the reward is looked at.
    """
    learned = [point for point in points if point.reward is not None]
    if not learned:
        return ()
    said = []
    first, last = learned[0], learned[-1]
    kept = next((point for point in learned if point.step == best_step), last)
    assert first.reward is not None
    assert last.reward is not None
    before, after = _primary(points[0], primary), _primary(kept, primary)
    if last.reward - first.reward >= RISE and after <= before:
        name = primary if primary in kept.others else "the reward"
        said.append(
            f"Reinforcement raised the reward on training prompts from {first.reward:.3f} to "
            f"{last.reward:.3f}, but {name} on validation did not rise ({before:.3f} before, "
            f"{after:.3f} after): the model has learned what pays on these prompts, not the task. "
            "Read some of its answers, and correct the reward."
        )
    if best_step == 0:
        said.append(
            "No step of reinforcement gave a better reward on validation than the model it "
            "started from, so the version is that model."
        )
    if not any(point.taught for point in learned):
        said.append(
            "All answers to a prompt were worth the same in every group, so nothing could be "
            "learned from them. Start from a supervised version, or use a grader that gives part "
            "of the points."
        )
    return tuple(said)


def _primary(point: RewardPoint, primary: str) -> float:
    value = point.others.get(primary, point.valid_reward)
    assert value is not None
    return value
