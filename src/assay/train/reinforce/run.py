"""The loop of a training that learns from graders: draw, grade, update; measure now and then.

Checkpoints, learning rate, patience, progress and Ctrl-C are those of every training
(`assay.train.loop`). Where these speak of a loss, it is what is left of a reward to 1. A checkpoint
is written between two steps, never between the updates of one, and the answers of a step depend on
(seed, step, row) and the weights alone: a run that goes on draws what it would have drawn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from torch import Tensor

from assay.errors import AssayError
from assay.progress import StoppableProgress, Task
from assay.quantities import say_count
from assay.train import adapters
from assay.train.counters import counting
from assay.train.device import computing, numbers_kept, peak_bytes, readable
from assay.train.loop import Run
from assay.train.optimizer import rate_of
from assay.train.reinforce import figures, policy
from assay.train.reinforce.policy import DrawnAnswer, groups_of
from assay.train.reinforce.questions import Question, draw, row_of, sample_requests
from assay.train.sequences import divisor, epoch_order, rows_of
from assay.train.step import step


class ReinforcementRun(Run):
    """One training by graders; the arguments are those of `Run`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        assert self.job.graded_by is not None
        self.graded_by, self.own = self.job.graded_by, self.settings.reinforcement
        self.epoch_steps, self.total_steps = self.own.evaluate_every, self.own.steps
        self.start = adapters.weights(self.model)
        self.objective_of_answers = policy.objective(self.own)
        limit = self.job.max_tokens
        self.questions, self.checks = (
            [cast(Question, unit).at_most(limit) for unit in units]
            for units in (self.job.train, self.job.validation)
        )

    @property
    def epoch(self) -> float:
        """Prompts answered / prompts there are."""
        return self.state.step * self.own.prompts_per_step / len(self.questions)

    @property
    def due(self) -> bool:
        """Whether validation is measured after this step: also after the last."""
        return self.due_after(self.state.step)

    @property
    def ends_early(self) -> bool:
        """As `Run.ends_early`; only where validation is measured anyway."""
        return super().ends_early and self.state.evaluated_step == self.state.step

    def due_after(self, step: int) -> bool:
        """Whether it is after so many."""
        return step % self.epoch_steps == 0 or step >= self.total_steps

    def weights_of(self, step: int) -> dict[str, Tensor]:
        """As `Run.weights_of`; before the first step there is no checkpoint."""
        return super().weights_of(step) if step else self.start

    def go_on(self, interrupted: threading.Event, bar: Task) -> None:
        """What the training starts from is measured first: it may be the best."""
        if self.state.best_validation_loss is None:
            self.evaluate(interrupted, bar)
        super().go_on(interrupted, bar)

    def step(self, bar: Task) -> None:
        """Draw answers to some prompts, grade them, and learn from the differences."""
        state, began = self.state, time.monotonic()
        with counting(self.model) as speed:
            answers, rewards, texts = self.draw_answers()
            kl = self.divergence(answers) if self.due_after(state.step + 1) else None
            norm = self.learn(answers)
        names = [answer.rows[0].name for answer in answers]
        lengths = [answer.rows[0].trained_tokens for answer in answers]
        mean = sum(rewards) / len(rewards)
        groups = groups_of(rewards, self.own.group)
        taught = sum(min(group) != max(group) for group in groups)
        state.step += 1
        state.window_groups += len(groups)
        state.window_taught += taught
        state.window_reward += mean * len(groups)
        state.window_loss += (1 - mean) * len(answers)
        state.window_tokens += len(answers)
        state.trained_tokens += sum(
            length for answer, length in zip(answers, lengths, strict=True) if answer.advantage
        )
        speed.tokens = sum(len(row.ids) for row in rows_of(answers))
        state.tokens += speed.tokens
        speed.seconds = time.monotonic() - began
        self.window.add(speed)
        self.note_train_loss()
        if self.due:
            self.note_rewards(kl)
        self.tell(
            1 - mean,
            None,
            validation=False,
            learning_rate=rate_of(self.optimizer, state.step),
            gradient_norm=norm,
            tokens_per_s=speed.effective_tokens_per_s,
            reward=mean,
            answer_tokens=sum(lengths) / len(lengths),
            rollouts=figures.rollouts_of(names, texts, rewards, self.own.group) if self.due else (),
        )
        bar.advance(
            1,
            reward=round(mean, 3),
            taught=f"{taught} of {say_count(len(groups), 'prompt')}",
            answer_tokens=round(sum(lengths) / len(lengths)),
            effective_tokens_per_s=round(speed.effective_tokens_per_s),
            memory=readable(peak_bytes(self.model)),
        )

    def draw_answers(self) -> tuple[list[DrawnAnswer], list[float], list[str]]:
        """The answers of this step, group by group, their rewards and texts."""
        step, count = self.state.step, self.own.prompts_per_step
        places = [*self.places(step * count, count)]
        chosen = [self.questions[place] for place in places]
        turns = [places[:at].count(place) for at, place in enumerate(places)]
        requests = [
            one
            for question, turn in zip(chosen, turns, strict=True)
            for one in sample_requests(question, self.settings, step, turn)
        ]
        with self.answering():
            drawn = draw(self.model, self.job.loaded, self.graded_by.template, requests)
        asked = [question for question in chosen for _ in range(self.own.group)]
        texts = [one.text for one in drawn]
        rewards = self.rewards(asked, texts)
        advantages = [
            advantage
            for group in groups_of(rewards, self.own.group)
            for advantage in policy.advantages(group)
        ]
        rows = [row_of(question, one) for question, one in zip(asked, drawn, strict=True)]
        answers = [
            DrawnAnswer((row,), advantage=advantage)
            for row, advantage in zip(rows, advantages, strict=True)
        ]
        return answers, rewards, texts

    def places(self, first: int, count: int) -> Iterator[int]:
        """Of the prompts of a step: all in one order, then all in another, and so on."""
        rows, seed = len(self.questions), self.settings.seed
        order = cache(lambda epoch: epoch_order(rows, seed, epoch))
        for at in range(first, first + count):
            epoch, within = divmod(at, rows)
            yield order(epoch)[within]

    def rewards(self, questions: Sequence[Question], texts: Sequence[str]) -> list[float]:
        """What each answer is worth by the reward; where that cannot be told, the run can go on
        from here."""
        try:
            return self.graded_by.reward([cast(Any, one.example) for one in questions], texts)
        except AssayError:
            self.save()  # nothing was learned since the last step
            raise

    def learn(self, answers: Sequence[DrawnAnswer]) -> float | None:
        """Update the weights by the answers of a step.

        Returns:
            The gradient's norm at the last update; None where there was nothing to learn.
        """
        self.set_rate()
        whole = divisor(answers, of_tokens=True)
        if self.own.beta and answers[0].logps.reference is None:
            self.with_reference(answers)
        taught = [answer for answer in answers if answer.advantage or self.own.beta]
        norm = None
        for _ in range(self.own.updates if taught else 0):
            self.optimizer.zero_grad(set_to_none=True)
            self.model.train()
            with numbers_kept(self.model), computing(self.model, self.compute):
                loss, _ = step(
                    self.model,
                    taught,
                    self.objective_of_answers,
                    self.settings.tokens_per_pass,
                    whole,
                )
            norm = self.descend(loss)
        return norm

    def with_reference(self, answers: Sequence[DrawnAnswer]) -> None:
        """Log-probabilities by the model that the training started from, of which there is no
        copy: its adapter takes the place of this one for a pass."""
        with self.as_started():
            for answer, logps in zip(answers, self.logps(answers), strict=True):
                answer.logps.reference = logps

    @contextmanager
    def as_started(self) -> Iterator[None]:
        """Within the block, the model is what the training started from."""
        now = adapters.weights(self.model)
        adapters.set_weights(self.model, self.start)
        try:
            yield
        finally:
            adapters.set_weights(self.model, now)

    def logps(self, answers: Sequence[DrawnAnswer]) -> list[Tensor]:
        """Of each answer's tokens, by the model as it is."""
        tokens, temperature = self.settings.tokens_per_pass, self.own.temperature
        with computing(self.model, self.compute):
            return policy.token_logps(self.model, rows_of(answers), tokens, temperature)

    def divergence(self, answers: Sequence[DrawnAnswer]) -> float:
        """How far the model is from what the training started from, by answers it has drawn."""
        now = self.logps(answers)
        self.with_reference(answers)
        reference = [cast(Tensor, answer.logps.reference) for answer in answers]
        return policy.divergence(now, reference)

    def note_rewards(self, kl: float | None) -> None:
        """A point of what was drawn since the last one; validation is measured next."""
        state = self.state
        reward = state.window_reward / state.window_groups
        taught = state.window_taught / state.window_groups
        state.rewards.append(figures.RewardPoint(state.step, reward, taught, kl=kl))
        state.window_groups, state.window_taught, state.window_reward = 0, 0, 0.0

    def evaluate(self, interrupted: threading.Event, bar: Task) -> None:
        """Answer validation greedily, and grade the answers by all graders."""

        def stop_or_go() -> None:
            if interrupted.is_set():
                self.save()
                raise KeyboardInterrupt

        requests = [cast(Any, question.request) for question in self.checks]
        template = self.graded_by.template
        with self.answering():
            drawn = draw(
                self.model, self.job.loaded, template, requests, StoppableProgress(stop_or_go)
            )
        examples = [cast(Any, question.example) for question in self.checks]
        texts = [one.text for one in drawn]
        rewards = self.rewards(self.checks, texts)
        if not self.state.rewards:
            self.state.rewards.append(figures.RewardPoint(0))
        point = self.state.rewards[-1]
        mean = point.valid_reward = sum(rewards) / len(rewards)
        for name, grade in self.graded_by.others.items():
            scores = grade(examples, texts)
            point.others[name] = sum(scores) / len(scores)
        point.answer_tokens, point.repeated = figures.answer_tokens(drawn), figures.repeated(drawn)
        score = point.others.get(self.graded_by.primary, mean)
        self.note_validation(1 - mean, score)
        bar.advance(0, validation_reward=round(mean, 3))
        if self.state.points:
            self.plot(self.state.points[-1], {})
        self.tell(
            1 - mean,
            None,
            validation=True,
            score=score,
            reward=mean,
            answer_tokens=point.answer_tokens,
            measured=point,
        )
