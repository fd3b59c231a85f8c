"""The loop: steps, evaluations, checkpoints, early stopping, and an orderly end on Ctrl-C.

`session.train_units` prepares a `Run` and reads what it leaves; here is how it moves on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from assay.errors import ModelError
from assay.interrupt import interrupt_noted
from assay.models.device import give_back_read
from assay.place.ranks import ALONE, RankLostError, Ranks
from assay.progress import Task
from assay.train import adapters, checkpoints
from assay.train.checkpoints import Checkpoint, Point, State
from assay.train.choices import Choices
from assay.train.counters import Hits, Throughput, counting, counting_hits
from assay.train.device import HeapLimit, computing, numbers_kept, peak_bytes, readable
from assay.train.fused import fast
from assay.train.job import StepReport, TrainingJob
from assay.train.objective import AnyObjective, ObjectiveOf, of_tokens
from assay.train.optimizer import optimizer_of, rate_of, set_rate, set_state, state_of
from assay.train.ranks import add_figures, add_gradients, own_part, take_first
from assay.train.schedule import learning_rate
from assay.train.sequences import Unit, divisor, dropout_seed, epoch_order, rows_of
from assay.train.step import evaluate, running, step

POINTS_PER_EPOCH = 10


class Run:
    """One training: its model, its optimiser, and where it is.

    Args:
        model: the job's, with what is trained of it.
        key: what its checkpoints belong to.
        choices: of these, the number format and the norms are up to this.
        objective_of: called before each step with its units, and before an evaluation with all of
            validation's; None for supervised training.
        ranks: this process among those that train; of those that are not rank 0, the job's folder
            and listeners are not used.
    """

    def __init__(
        self,
        job: TrainingJob,
        model: nn.Module,
        key: str,
        choices: Choices,
        objective_of: ObjectiveOf | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.job, self.model, self.key, self.choices = job, model, key, choices
        self.compute, self.objective_of, self.ranks = choices.compute, objective_of, ranks
        self.settings, self.state = job.settings, State()
        if job.start is not None:
            adapters.set_weights(model, adapters.read(job.start.folder))
        self.parameters = adapters.trainable(model)
        self.optimizer = optimizer_of(job.settings, self.parameters)
        self.epoch_steps = math.ceil(len(job.train) / job.settings.rows_per_step)
        self.total_steps = self.epoch_steps * job.settings.epochs
        self.started, self.interrupted = time.monotonic(), threading.Event()
        self.window = Throughput()  # since the last point
        self.heap = HeapLimit(model)

    def go_to(self, found: Checkpoint) -> None:
        """Go on from a checkpoint of this run."""
        self.state = found.state
        if self.job.stop_when is None:  # nobody wants it to end there any more
            self.state.stopped = None
        adapters.set_weights(self.model, found.weights)
        set_state(self.optimizer, self.parameters, found.optimizer)
        self.job.progress.say(f"Continuing after step {self.state.step} of {self.total_steps}.")
        for point in self.state.points:
            self.plot(point, {})

    def plot(self, point: Point, rates: Mapping[str, float]) -> None:
        """Call `on_point`, if there is one."""
        if self.job.on_point is not None:
            self.job.on_point(point, rates)

    def to_the_end(self) -> None:
        """Steps and evaluations until the last epoch, or until patience is at its end."""
        self.give_back_read()
        take_first(self.ranks, self.parameters.values())
        with (
            self.job.progress.task("training", self.total_steps, "steps") as bar,
            interrupt_noted(heeded=self.ranks.number == 0) as self.interrupted,
            fast(self.model, getattr(torch, self.compute), self.choices.norms),
            running(self.model),
        ):
            self.give_back_read()
            bar.advance(self.state.step)
            try:
                self.go_on(self.interrupted, bar)
            except RankLostError:
                self.save()  # the step that could not be added up has changed nothing yet
                if not self.interrupted.is_set():
                    raise
            if self.interrupted.is_set():  # during the last save, too: the next call ends at once
                raise KeyboardInterrupt

    def go_on(self, interrupted: threading.Event, bar: Task) -> None:
        """One step after the other, validation and checkpoints between them."""
        state, saved = self.state, time.monotonic()
        while True:
            if interrupted.is_set():
                self.save()
                raise KeyboardInterrupt
            if self.due and state.evaluated_step < state.step:
                self.evaluate(interrupted, bar)
                self.save()
                saved = time.monotonic()
            if state.step >= self.total_steps or self.out_of_patience:
                state.stopped = None  # it has come to its planned end
                return
            if self.ends_early:
                self.measure_early_end(interrupted, bar)
                return
            self.step(bar)
            if time.monotonic() - saved >= self.job.checkpoint_seconds:
                self.save()
                saved = time.monotonic()

    def measure_early_end(self, interrupted: threading.Event, bar: Task) -> None:
        """Measure validation where nobody has planned to: the checkpoint is written before, so that
        the planned run goes on without what comes of it."""
        self.save()
        if self.state.evaluated_step < self.state.step:
            self.evaluate(interrupted, bar)
            self.note_work()

    def give_back_read(self) -> None:
        """Of weights in a file, what was read to copy them: the copies are what is multiplied."""
        if self.compute == "bfloat16":
            give_back_read(self.model.parameters())

    @property
    def epoch(self) -> float:
        """Rows seen / rows of an epoch."""
        return self.state.step / self.epoch_steps

    @property
    def due(self) -> bool:
        """Whether validation is measured after this step."""
        return self.state.step % self.epoch_steps == 0

    @property
    def ends_early(self) -> bool:
        """Whether it is to end before its last step, and may do so after this one."""
        return self.state.stopped is not None

    @property
    def out_of_patience(self) -> bool:
        """Whether the validation loss has not improved for as many epochs as it may."""
        return self.state.stale_epochs >= self.settings.patience

    def objective(self, units: Sequence[Unit]) -> AnyObjective:
        """What is minimised over `units` now; None: the cross-entropy of their tokens."""
        return None if self.objective_of is None else self.objective_of(self.model, units)

    def step(self, bar: Task) -> None:
        """One update of the weights."""
        state, settings = self.state, self.settings
        epoch, within = divmod(state.step, self.epoch_steps)
        order = epoch_order(len(self.job.train), settings.seed, epoch)
        first = within * settings.rows_per_step
        units = [self.job.train[i] for i in order[first : first + settings.rows_per_step]]
        began = time.monotonic()
        self.set_rate()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        with numbers_kept(self.model), computing(self.model, self.compute):
            torch.manual_seed(dropout_seed(settings.seed, state.step))
            objective = self.objective(units)
            with counting(self.model) as speed, self.counting_hits(objective) as hits:
                loss = self.own_loss(units, objective)
        add_gradients(self.ranks, self.parameters.values())
        loss, speed.computed, accuracy = self.add_up(loss, speed.computed, hits)
        trained = sum(row.trained_tokens for row in rows_of(units))
        norm = self.descend(loss)
        speed.tokens = sum(len(row.ids) for row in rows_of(units))
        counted = trained if of_tokens(objective) else len(units)
        state.step += 1
        state.window_loss += loss * counted
        state.window_tokens += counted
        state.trained_tokens += trained
        state.tokens += speed.tokens
        speed.seconds = time.monotonic() - began
        self.window.add(speed)
        self.note_train_loss()
        self.tell(
            loss,
            accuracy,
            validation=False,
            learning_rate=rate_of(self.optimizer, state.step),
            gradient_norm=norm,
            tokens_per_s=speed.effective_tokens_per_s,
        )
        bar.advance(
            1,
            loss=round(loss, 4),
            tokens_per_s=round(speed.tokens_per_s),
            effective_tokens_per_s=round(speed.effective_tokens_per_s),
            sharing_saved=f"{speed.saved:.0%}",
            memory=readable(peak_bytes(self.model)),
        )

    def set_rate(self) -> None:
        """The learning rate of this step."""
        set_rate(self.optimizer, learning_rate(self.state.step, self.total_steps, self.settings))

    def descend(self, loss: float) -> float:
        """Update the weights by their gradients; the gradients' norm before it was clipped."""
        norm = float(nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = "loss" if not math.isfinite(loss) else "gradient"
            raise _not_a_number(what, self.state.step + 1)
        self.optimizer.step()
        self.heap.after_step()
        return norm

    def own_loss(self, units: Sequence[Unit], objective: AnyObjective) -> float:
        """This rank's part of a step's loss; its gradient is added."""
        own = own_part(units, self.ranks)
        if not own:
            return 0.0
        whole = divisor(units, of_tokens=of_tokens(objective))
        return step(self.model, own, objective, self.settings.tokens_per_pass, whole)[0]

    def add_up(self, loss: float, computed: int, hits: Hits) -> tuple[float, int, float | None]:
        """Loss, tokens computed and accuracy of all ranks."""
        loss, all_computed, right, seen = add_figures(
            self.ranks, loss, computed, hits.right, hits.tokens
        )
        return loss, int(all_computed), right / seen if seen else None

    def note_train_loss(self) -> None:
        """A point of the curve every tenth of an epoch and at its end."""
        within = self.state.step % self.epoch_steps
        if not self.due and within % max(1, self.epoch_steps // POINTS_PER_EPOCH):
            return
        self.add_point()

    def add_point(self) -> None:
        """A point of the curve after this step."""
        state = self.state
        loss = state.window_loss / state.window_tokens
        state.points.append(Point(state.step, self.epoch, loss))
        state.window_loss, state.window_tokens = 0.0, 0
        rates = {
            "learning_rate": rate_of(self.optimizer, state.step),
            "tokens_per_s": self.window.tokens_per_s,
            "effective_tokens_per_s": self.window.effective_tokens_per_s,
            "sharing_saved": self.window.saved,
            "memory_bytes": float(peak_bytes(self.model)),
        }
        self.window = Throughput()
        self.plot(state.points[-1], rates)

    def evaluate(self, interrupted: threading.Event, bar: Task) -> None:
        """Measure validation; the point goes beside the epoch's last train loss."""
        state = self.state

        def stop() -> None:
            if interrupted.is_set():
                raise KeyboardInterrupt

        def save_and_stop() -> None:
            if interrupted.is_set():
                self.save()
            stop()

        with computing(self.model, self.compute):
            units = self.job.validation
            own, objective = own_part(units, self.ranks), self.objective(units)
            loss = 0.0
            with self.counting_hits(objective) as hits:
                if own:
                    loss = evaluate(
                        self.model,
                        own,
                        objective,
                        self.settings.tokens_per_pass,
                        divisor(units, of_tokens=of_tokens(objective)),
                        between=save_and_stop,
                    )
        loss, _, accuracy = self.add_up(loss, 0, hits)
        if not math.isfinite(loss):
            raise _not_a_number("validation loss", state.step)
        try:
            score = self.score(stop)
        except KeyboardInterrupt:
            self.save()  # here, where the time of scoring counts no longer
            raise
        self.note_validation(loss, score)
        bar.advance(0, validation_loss=round(loss, 4))
        if score is not None:
            bar.advance(0, score=round(score, 3))
        self.plot(state.points[-1], {})
        self.tell(loss, accuracy, validation=True, score=score)

    def note_validation(self, loss: float, score: float | None) -> None:
        """A measurement of validation, and whether it is the best so far."""
        state = self.state
        if state.step:
            if not state.points or state.points[-1].step < state.step:
                self.add_point()
            state.points[-1].validation_loss, state.points[-1].score = loss, score
        state.evaluated_step = state.step
        if state.best_validation_loss is None or loss < state.best_validation_loss:
            state.best_step, state.best_validation_loss = state.step, loss
            state.stale_epochs = 0
        else:
            state.stale_epochs += 1

    def score(self, between: Callable[[], None]) -> float | None:
        """What the job's scorer says of the model, where there is one and this is rank 0.

        Its time is none of the training's, of which costs and the number of seeds are made.
        """
        if self.job.score is None or self.ranks.number:
            return None
        began = time.monotonic()
        try:
            with self.answering():
                return self.job.score(self.model, between)
        finally:
            self.started += time.monotonic() - began

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Within the block the model answers, which leaves nothing behind."""
        before = dict(self.model.named_buffers())
        try:
            with numbers_kept(self.model), computing(self.model, self.compute):
                yield
        finally:
            for name, buffer in self.model.named_buffers():
                if buffer is not before[name]:  # a rotation for longer rows, without a gradient
                    owner, _, last = name.rpartition(".")
                    setattr(self.model.get_submodule(owner), last, before[name])

    def counting_hits(self, objective: AnyObjective) -> AbstractContextManager[Hits]:
        """Counts where somebody wants to know, and the loss is one of single tokens."""
        return counting_hits(self.job.is_watched and of_tokens(objective))

    def tell(self, loss: float, accuracy: float | None, *, validation: bool, **more: Any) -> None:
        """Tell whoever watches; note why it is to end, where that is said."""
        state = self.state
        if not self.job.is_watched:
            return

        def write(folder: Path) -> None:
            adapters.write(folder, self.model, adapters.weights(self.model))

        report = StepReport(
            state.step, self.total_steps, loss, accuracy, validation, self.epoch, write, **more
        )
        state.stopped = self.job.tell(report, state.stopped)

    def weights_of(self, step: int) -> dict[str, Tensor]:
        """What was trained as it was after a step that has a checkpoint."""
        return checkpoints.read_weights(self.job.folder, step)

    def save(self) -> None:
        """Write a checkpoint of this moment, where files are written; others may go on from it."""
        if self.ranks.number:
            return
        self.note_work()
        if self.state.step:
            moments = state_of(self.optimizer, self.parameters)
            weights = adapters.weights(self.model)
            checkpoints.save(self.job.folder, self.key, self.state, weights, moments)
            checkpoints.keep(self.job.folder, self.job.progress, is_left=self.interrupted.is_set)

    def note_work(self) -> None:
        """Add the time since the last call, and the memory it took, to the account."""
        now = time.monotonic()
        self.state.seconds += now - self.started
        self.started = now
        self.state.peak_bytes = max(self.state.peak_bytes, peak_bytes(self.model))


def _not_a_number(what: str, step: int) -> ModelError:
    return ModelError(
        f"the {what} is no longer a finite number.",
        where=f"step {step}",
        fix="Lower fine_tune.learning_rate (a tenth is a good try), or lengthen fine_tune.warmup.",
    )
