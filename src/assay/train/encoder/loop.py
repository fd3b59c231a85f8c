"""Steps, evaluations and checkpoints of a training, by transformers' `Trainer`.

The tables of word and position vectors stay as they are. A few rows say nothing about most words,
and half of a small model's weights are there.

A run is a function of model, rows, settings and seed. After a kill or Ctrl-C the same call goes
on from the last checkpoint, to the same weights: the order of the rows is a function of (seed,
epoch), dropout of (seed, step), and checkpoints are Assay's own, since `Trainer` would pickle.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from assay.errors import DataError, ModelError
from assay.interrupt import interrupt_noted
from assay.models.device import available_bytes, best_device
from assay.models.quiet import silent_libraries
from assay.progress import Task
from assay.train import adapters, checkpoints
from assay.train.checkpoints import Point, State
from assay.train.device import HeapLimit, numbers_kept, peak_bytes, readable
from assay.train.encoder.job import EncoderJob, no_memory
from assay.train.schedule import rate_share
from assay.train.sequences import dropout_seed, epoch_order

SORTED_TOGETHER = 16
"""Steps whose rows are divided among them by length, so that little is filled up."""
CHECKPOINT_SECONDS = 60.0
VALIDATION_ROWS = 64
"""Whose loss is computed at once."""
POINTS_PER_EPOCH = 10
BODY = "body."
"""What the names of the model's weights begin with in a checkpoint."""
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_COPIES = 5  # of what is trained: weight, gradient, two moments, and one in a checkpoint's making


class EncoderRun(TrainerCallback):  # type: ignore[misc]
    """One training: its model, its optimiser, where it is; told by `Trainer` of every step."""

    def __init__(self, job: EncoderJob, folder: Path, key: str) -> None:
        self.started = self.saved = time.monotonic()
        self.job, self.settings = job, job.settings
        self.folder, self.key = folder, key
        body = job.base.copy_model().to(best_device())
        for module in body.modules():
            if isinstance(module, nn.Embedding):
                module.requires_grad_(False)
        self.model = job.objective.open(job.base, body).to(best_device())
        self.rows = self.model.rows
        if not self.rows:
            raise DataError(
                f"no row is left to train the {job.base.kind} on.",
                fix="Add rows of a weight above 0; documents that they name must have text.",
            )
        self.parameters = adapters.trainable(self.model)
        inner = [p for name, p in self.parameters.items() if name.startswith(BODY)]
        if not inner:
            raise ModelError(
                f"this {job.base.kind} has no weights that can be trained.", where=job.base.name
            )
        needed, free = 4 * _COPIES * sum(map(torch.numel, inner)), available_bytes(inner[0].device)
        if needed > free:
            raise no_memory(
                f"training needs more than {readable(needed)}, but only {readable(free)} is free.",
                job,
            )
        self.optimizer = torch.optim.AdamW(
            [
                {"params": inner, "lr": self.settings.learning_rate},
                *self.model.own_groups(),
            ],
            weight_decay=self.settings.weight_decay,
        )
        self.epoch_steps = math.ceil(len(self.rows) / self.settings.rows_per_step)
        self.total_steps = self.epoch_steps * self.settings.epochs
        self.evaluated_steps = math.ceil(self.epoch_steps / self.settings.evaluations)
        self.state = State()
        self.heap = HeapLimit(self.model)
        self.bar: Task
        self.interrupted = threading.Event()

    def to_the_end(self) -> None:
        """Steps and evaluations until the last epoch, or until patience is at its end."""
        self.resume()
        if self.is_over:
            return
        done = self.state.step

        def share(step: int) -> float:
            return rate_share(
                min(done + step, self.total_steps), self.total_steps, self.settings.warmup
            )

        with silent_libraries():
            arguments = TrainingArguments(
                output_dir=str(self.folder),
                max_steps=self.total_steps - done,
                max_grad_norm=self.settings.clip,
                per_device_train_batch_size=self.settings.rows_per_step,
                use_cpu=best_device() == "cpu",
                save_strategy="no",  # it would pickle; see `save`
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                seed=self.settings.seed,
            )
            arguments._n_gpu = 1  # a model on several devices would tell no loss
            trainer = _Trainer(
                self,
                args=arguments,
                train_dataset=self.rows,
                optimizers=(
                    self.optimizer,
                    torch.optim.lr_scheduler.LambdaLR(self.optimizer, share),
                ),
            )
            trainer.remove_callback(PrinterCallback)
            with (
                self.job.progress.task("training", self.total_steps, "steps") as self.bar,
                interrupt_noted() as self.interrupted,
                numbers_kept(self.model),
            ):
                self.bar.advance(done)
                self.saved = time.monotonic()
                trainer.train()
                if self.interrupted.is_set():  # during the last save: the next call ends at once
                    raise KeyboardInterrupt

    def resume(self) -> None:
        """Go to the last checkpoint of this run, if there is one."""
        checkpoints.bring(self.folder, self.job.progress)
        found = checkpoints.latest(self.folder, self.key, self.job.progress)
        if found is None:
            return
        self.state = found.state
        adapters.set_weights(self.model, found.weights)
        for name, parameter in self.parameters.items():
            parts = [part for part in _MOMENTS if f"{name}/{part}" in found.optimizer]
            if parts:  # none of what never had a gradient: the part of a model that is not used
                values = {part: found.optimizer[f"{name}/{part}"] for part in parts}
                self.optimizer.state[parameter] = {
                    part: value if part == "step" else value.to(parameter.device)
                    for part, value in values.items()
                }
        self.job.progress.say(f"Continuing after step {self.state.step} of {self.total_steps}.")

    @property
    def is_over(self) -> bool:
        """Whether all steps are done, or validation has not improved for too long."""
        state = self.state
        patient = state.stale_epochs < self.settings.patience
        return state.evaluated_step == self.total_steps or not patient

    def batches(self) -> Iterator[list[int]]:
        """Places of the rows of each step that is to come."""
        size = self.settings.rows_per_step
        for epoch in range(self.settings.epochs):
            order = epoch_order(len(self.rows), self.settings.seed, epoch)
            steps: list[list[int]] = []
            for start in range(0, len(order), size * SORTED_TOGETHER):
                near = order[start : start + size * SORTED_TOGETHER]
                near.sort(key=lambda place: self.model.lengths[place])
                steps += [near[at : at + size] for at in range(0, len(near), size)]
            shuffled = epoch_order(len(steps), self.settings.seed + 1, epoch)
            first = max(0, self.state.step - epoch * self.epoch_steps)
            yield from (steps[place] for place in shuffled[first:])

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Dropout is drawn anew for each step, so that a run that goes on draws the same."""
        torch.manual_seed(dropout_seed(self.settings.seed, self.state.step))

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        """Note the loss; measure validation, keep a checkpoint and stop where due."""
        state, loss = self.state, self.model.loss
        if not math.isfinite(loss):
            raise ModelError(
                "the loss is no longer a finite number.",
                where=f"step {state.step + 1}, {self.job.base.name}",
                fix=f"Use another {self.job.base.kind}.",
            )
        self.heap.after_step()
        state.step += 1
        state.window_loss += loss
        state.window_tokens += 1
        within = state.step % self.epoch_steps
        is_judged = not within % self.evaluated_steps
        if is_judged or not within % max(1, self.epoch_steps // POINTS_PER_EPOCH):
            mean = state.window_loss / state.window_tokens
            state.points.append(Point(state.step, state.step / self.epoch_steps, mean))
            state.window_loss, state.window_tokens = 0.0, 0
        self.bar.advance(1, loss=round(loss, 4))
        if is_judged:
            self.evaluate()
        is_stopped = self.interrupted.is_set()
        if is_judged or is_stopped or time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
            self.save()
        if is_stopped:
            raise KeyboardInterrupt
        control.should_training_stop = self.is_over

    def evaluate(self) -> None:
        """Measure validation, and note whether it is the best so far."""
        state = self.state
        loss = self.validation_loss()
        state.points[-1].validation_loss = loss
        state.evaluated_step = state.step
        if state.best_validation_loss is None or loss <= state.best_validation_loss:
            state.best_step, state.best_validation_loss = state.step, loss
            state.stale_epochs = 0
        else:
            state.stale_epochs += 1
        self.bar.advance(0, validation_loss=round(loss, 4))

    def validation_loss(self) -> float:
        """Mean per row; 0 where there is none to measure."""
        total = weights = 0.0
        rows = sorted(self.model.judged, key=lambda row: len(row[0]))
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(rows), VALIDATION_ROWS):
                batch = self.model.batch(rows[start : start + VALIDATION_ROWS])
                weight = float(batch["weights"].sum())
                total += weight * float(self.model(**batch)["loss"])
                weights += weight
        self.model.train()
        return total / weights if weights else 0.0

    def save(self) -> None:
        """Write a checkpoint of this moment."""
        now = time.monotonic()
        self.state.seconds += now - self.started
        self.started = self.saved = now
        self.state.peak_bytes = max(self.state.peak_bytes, peak_bytes(self.model))
        moments = {
            f"{name}/{part}": value.cpu()
            for name, parameter in self.parameters.items()
            for part, value in self.optimizer.state.get(parameter, {}).items()
        }
        weights = adapters.weights(self.model)
        checkpoints.save(self.folder, self.key, self.state, weights, moments)
        checkpoints.keep(self.folder, self.job.progress, is_left=self.interrupted.is_set)


class _Trainer(Trainer):  # type: ignore[misc]
    """With the run's own order of rows, which goes on after a kill where it was."""

    def __init__(self, run: EncoderRun, **settings: Any) -> None:
        self.run = run
        super().__init__(model=run.model, callbacks=[run], **settings)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The steps that are to come."""
        return DataLoader(
            self.run.rows,  # type: ignore[arg-type]
            batch_sampler=list(self.run.batches()),
            collate_fn=self.run.model.batch,
        )
