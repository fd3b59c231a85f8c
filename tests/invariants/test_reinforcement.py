"""Learning from graders: its gradient is that of GRPO written out, and whatever is drawn again is
the same to the bit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.invariants.test_tree_training import adapted, gradients
from tests.train import graded
from torch import Tensor, nn

from assay.config.reinforcement import Reinforcement
from assay.train import adapters
from assay.train.choices import Choices
from assay.train.reinforce import policy
from assay.train.reinforce.policy import DrawnAnswer, advantages, token_logps
from assay.train.reinforce.run import ReinforcementRun
from assay.train.sequences import TrainingSequence, divisor, rows_of
from assay.train.step import step

GROUP = 4
ALLOWED = 1e-5
SETTINGS = Reinforcement(group=GROUP, beta=0.05, temperature=0.7, clip_low=0.05, clip_high=0.1)


def drawn_groups(seed: int) -> list[list[tuple[list[int], list[int], float, float]]]:
    """Groups of (prompt, answer, reward, weight); the first is worth the same throughout."""
    chance = random.Random(seed)
    groups = []
    for number in range(3):
        prompt = [chance.randrange(256) for _ in range(chance.choice([6, 90]))]
        weight = chance.choice([1.0, 0.5])
        groups.append(
            [
                (
                    prompt,
                    [chance.randrange(256) for _ in range(chance.randint(1, 12))],
                    1.0 if number == 0 else chance.choice([0.0, 0.25, 1.0]) + 0.01 * place,
                    weight,
                )
                for place in range(GROUP)
            ]
        )
    return groups


def answers_of(groups: Sequence[Sequence[Any]]) -> list[DrawnAnswer]:
    made = []
    for group in groups:
        worth = advantages([reward for _, _, reward, _ in group])
        for (prompt, answer, _, weight), advantage in zip(group, worth, strict=True):
            mask = [False] * len(prompt) + [True] * len(answer)
            row = TrainingSequence(prompt + answer, mask, weight)
            made.append(DrawnAnswer((row,), advantage=advantage))
    return made


def logps_by_hand(model: Any, prompt: list[int], answer: list[int], temperature: float) -> Tensor:
    """Of one whole copy of prompt and answer, through plain transformers."""
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, :-1] / temperature
    return logits.log_softmax(-1)[range(len(prompt) - 1, len(prompt + answer) - 1), answer]


def grpo(
    model: nn.Module,
    groups: Sequence[Sequence[Any]],
    old: list[Tensor],
    reference: list[Tensor],
    settings: Reinforcement = SETTINGS,
    *,
    each_answer_alone: bool = False,
    by_deviation: bool = False,
) -> Tensor:
    """The loss written out with autograd: no tree, no skipped group, no second copy shared."""
    total, tokens, number = torch.zeros(()), 0.0, 0
    for group in groups:
        rewards = torch.tensor([reward for _, _, reward, _ in group])
        worth = rewards - rewards.mean()
        if by_deviation:
            worth = worth / (rewards.std() + 1e-4)
        for (prompt, answer, _, weight), advantage in zip(group, worth, strict=True):
            logps = logps_by_hand(model, prompt, answer, settings.temperature)
            ratio = (logps - old[number]).exp()
            kept = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
            gain = torch.min(ratio * advantage, kept * advantage)
            apart = reference[number] - logps
            k3 = apart.exp() - apart - 1
            losses = weight * (settings.beta * k3 - gain)
            total = total + (losses.mean() if each_answer_alone else losses.sum())
            tokens += 1 if each_answer_alone else weight * len(answer)
            number += 1
    return total / tokens


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest ‖Δ‖ / ‖g‖ of a tensor."""
    return max(float((ours[n] - theirs[n]).norm() / theirs[n].norm()) for n in theirs)


@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen3"])
def test_loss_and_gradient_are_those_of_the_formula_written_out(family: str) -> None:
    """Of both updates of a step: at first all ratios are 1, then some lie beyond the clips. A loss
    averaged answer by answer, or advantages divided by the deviation, would be noticed."""
    model, groups = adapted(family), drawn_groups(5)
    start = adapters.weights(model)
    moved = {name: value + 0.02 * torch.randn_like(value) for name, value in start.items()}
    rows = rows_of(answers_of(groups))
    reference = token_logps(model, rows, 4096, SETTINGS.temperature)
    adapters.set_weights(model, moved)
    answers, objective = answers_of(groups), policy.objective(SETTINGS)
    for answer, logps in zip(answers, reference, strict=True):
        answer.logps.reference = logps
    with torch.no_grad():
        old = [
            logps_by_hand(model, prompt, answer, SETTINGS.temperature)
            for group in groups
            for prompt, answer, _, _ in group
        ]
    whole = divisor(answers, of_tokens=True)
    clipped = []
    for update in range(2):
        (loss, *_), mine = gradients(model, step, answers, objective, 64, whole)

        def plain(**changed: bool) -> Tensor:
            return grpo(model, groups, old, reference, **changed)

        wanted = plain()
        _, exact = gradients(model, lambda _, wanted=wanted: wanted.backward())
        assert loss == pytest.approx(wanted.item(), rel=ALLOWED, abs=1e-7)
        assert distance(mine, exact) <= ALLOWED
        for broken in ("each_answer_alone", "by_deviation"):
            other = plain(**{broken: True})
            _, wrong = gradients(model, lambda _, other=other: other.backward())
            assert distance(mine, wrong) > 100 * ALLOWED, broken
        now = torch.cat(token_logps(model, rows, 4096, SETTINGS.temperature))
        ratios = (now - torch.cat(old)).exp()
        clipped.append(int(((ratios < 0.95) | (ratios > 1.1)).sum()))
        drawn = torch.cat([answer.logps.drawn for answer in answers])  # type: ignore[misc]
        assert float((drawn - torch.cat(old)).abs().max()) <= 1e-4
        if update == 0:
            step_on = {n: v + 0.05 * torch.randn_like(v) for n, v in moved.items()}
            adapters.set_weights(model, step_on)
    assert clipped[0] == 0 < clipped[1]


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_a_step_of_a_run_is_plain_grpo_of_what_it_has_drawn(tmp_path: Path, beta: float) -> None:
    """Answers drawn by the engine, graded, and learned from: the gradient that a step leaves is the
    formula's, groups worth the same, the divisor and the reference included."""
    own = graded.SETTINGS.reinforcement.model_copy(
        update={"beta": beta, "updates": 1, "prompts_per_step": 4, "temperature": 0.8}
    )
    settings = graded.SETTINGS.model_copy(update={"reinforcement": own, "clip": 1e9})
    job = graded.job(tmp_path, settings, reward=_coarse)
    with adapters.adapt(job.loaded, settings) as model:
        run = ReinforcementRun(job, model, "", Choices("float32", 1, False))
        start = adapters.weights(model)
        torch.manual_seed(0)
        moved = {name: value + 0.1 * torch.randn_like(value) for name, value in start.items()}
        adapters.set_weights(model, moved)
        answers, rewards, _ = run.draw_answers()
        again, _, _ = run.draw_answers()
        assert [one.rows for one in again] == [one.rows for one in answers]
        split = [(*_split(answer.rows[0]), 1.0) for answer in answers]
        groups = [
            [(p, a, reward, w) for (p, a, w), reward in zip(part, worth, strict=True)]
            for part, worth in zip(
                policy.groups_of(split, own.group),
                policy.groups_of(rewards, own.group),
                strict=True,
            )
        ]
        taught = [len({reward for _, _, reward, _ in group}) > 1 for group in groups]
        assert any(taught)
        assert not all(taught), "one is left out, and counts in the divisor"

        def by_hand(weights: dict[str, Tensor]) -> list[Tensor]:
            adapters.set_weights(model, weights)
            with torch.no_grad():
                return [logps_by_hand(model, p, a, own.temperature) for p, a, _ in split]

        reference, old = by_hand(start), by_hand(moved)
        _, wanted = gradients(model, lambda _: grpo(model, groups, old, reference, own).backward())
        run.learn(answers)
        found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        assert set(found) == set(wanted)
        assert distance(found, wanted) <= ALLOWED
        assert any((value != moved[n]).any() for n, value in adapters.weights(model).items())


def _coarse(examples: Sequence[Any], texts: Sequence[str]) -> list[float]:
    """Few values, and one prompt whose answers are all worth the same."""
    return [
        0.5 if e.id == "0-3" else round(3 * worth) / 3
        for e, worth in zip(examples, graded.small_letters(examples, texts), strict=True)
    ]


def _split(row: TrainingSequence) -> tuple[list[int], list[int]]:
    start = row.trained.index(True)
    return row.ids[:start], row.ids[start:]
