"""Assay's side of `bench/train.py`, in a process of its own: one training, timed and weighed.

    python bench/train_ours.py < job.json

It is the trainer as a user calls it, `assay.train.session.train_by_method`: rendering, choice of
the number format, adapter, checks, steps. It is left after the last step, before the epoch's
evaluation and its checkpoint, since the peer is not asked for them either. Prints one JSON line.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from assay.chat.template import Template
from assay.config import FineTune
from assay.example import Example, Message
from assay.models.load import LoadedModel, load_to_train
from assay.train.choices import FILE
from assay.train.device import peak_bytes
from assay.train.job import TrainingJob
from assay.train.methods import registry
from assay.train.sequences import TrainingSequence, Unit, alone, epoch_order
from assay.train.session import train_by_method
from assay.train.units import units_of
from train_works import ALPHA, RANK, Job, Row, common, counted_once


@dataclass(frozen=True)
class Outcome:
    """What a training measured.

    Attributes:
        what: how it was run.
        prepare_s: from rows in memory and a loaded model to the first step.
        step_s: seconds of each step.
        tokens: of each step, as rendered.
        losses: of each step, nats per trained token (dpo: per pair).
        peak_mb: most memory of the process, loading included, in 1e6 bytes; on a GPU, after it.
        loaded_mb: the same up to the loaded model.
        validation_loss: nats per trained token after the last step.
        computed: tokens of all steps when those of a common beginning are counted once (ours only).
        gflops: of a large matrix product in the number format of the training (ours only).
        limit_tokens_per_s: unshared tokens if only the adapted linear maps took time (ours only).
    """

    what: str
    prepare_s: float
    step_s: list[float]
    tokens: list[int]
    losses: list[float]
    peak_mb: float
    loaded_mb: float
    validation_loss: float | None = None
    computed: int | None = None
    gflops: float | None = None
    limit_tokens_per_s: float | None = None


class EnoughError(Exception):
    """All steps that were wanted are done."""


class Watch:
    """Listens to the trainer: when the first step began, how long each took, its loss."""

    def __init__(self, steps: int, limit_s: float, *, leave: bool) -> None:
        self.steps, self.limit_s, self.leave = steps, limit_s, leave
        self.started = self.mark = 0.0
        self.peak = 0
        self.step_s: list[float] = []
        self.losses: list[float] = []

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Watch]:
        """The trainer's own bars; the steps are those of "training"."""
        if label == "training":
            self.started = self.mark = now()
        yield self

    def say(self, line: str) -> None:
        """Nothing."""

    def advance(self, amount: float = 1, **info: Any) -> None:
        """A step is over where its loss is told; what lies between is no step (an evaluation)."""
        reached = now()
        if "loss" in info:
            self.step_s.append(reached - self.mark)
            self.losses.append(info["loss"])
            late = reached - self.started >= self.limit_s
            if self.leave and (late or len(self.step_s) == self.steps):
                raise EnoughError
        self.mark = reached


def now() -> float:
    """The time in seconds, when a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def weigh_loaded(loaded: LoadedModel) -> float:
    """The most memory up to here, in 1e6 bytes; on a GPU what follows is weighed by itself."""
    most = peak_bytes(loaded.model) / 1e6
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return most


def train(job: Job) -> Outcome:
    """All steps of the job."""
    loaded = load_to_train(job.model, job.quantization)
    loaded_mb = weigh_loaded(loaded)
    settings = FineTune(
        method=job.method,
        rank=RANK,
        alpha=ALPHA,
        learning_rate=job.learning_rate,
        epochs=job.epochs,
        rows_per_step=job.rows_per_step,
        max_tokens=2048,
        seed=job.seed,
        quantization=job.quantization,
    )
    steps = job.epochs * math.ceil(len(job.rows) / job.rows_per_step)
    watch = Watch(steps, job.limit_s, leave=not job.validation)
    validation = None
    with TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        template = Template.of(loaded.tokenizer)
        units = rendered(loaded, template, job.method, job.rows)
        # A validation set the trainer must have; without one to measure, it is never looked at.
        checks = rendered(loaded, template, job.method, job.validation) or units[:1]
        try:
            training = TrainingJob(
                loaded,
                units,
                checks,
                settings,
                folder,
                watch,
                compute=job.compute,
                checkpoint_seconds=float("inf"),
            )
            result = train_by_method(training)
            validation = result.points[-1].validation_loss
        except EnoughError:
            pass
        peak_mb = peak_bytes(loaded.model) / 1e6
        choices = json.loads((folder / FILE).read_text("utf-8"))["choices"]
    groups = steps_of(units, settings)[: len(watch.step_s)]
    gflops = product_gflops(choices["compute"]) if job.peak else None
    return Outcome(
        what=", ".join(f"{name} {value}" for name, value in choices.items()),
        prepare_s=watch.started - began,
        step_s=watch.step_s,
        tokens=[sum(len(row.ids) for row in rows) for rows in groups],
        losses=watch.losses,
        peak_mb=peak_mb,
        loaded_mb=loaded_mb,
        validation_loss=validation,
        computed=sum(counted_once([row.ids for row in rows]) for rows in groups),
        gflops=gflops,
        limit_tokens_per_s=gflops and gflops * 1e9 / work_per_token(loaded.model),
    )


def rendered(
    loaded: LoadedModel, template: Template, method: str, rows: Sequence[Row]
) -> list[Unit]:
    """Rows as the trainer takes them: messages by the chat template, texts and ids as they are."""
    if any("messages" not in row for row in rows):
        return [*alone([_plain(loaded, row) for row in rows])]
    examples = [
        Example(
            id=f"row-{number}",
            messages=(*_turns(row["messages"]), *_turns(row["answers"][:1])),
            rejected=_turns(row["answers"][1:]),
        )
        for number, row in enumerate(rows, start=1)
    ]
    learns_from = registry.find(method).learns_from
    assert learns_from != "documents"
    return units_of(learns_from, examples, template, "")


def steps_of(units: Sequence[Unit], settings: FineTune) -> list[list[TrainingSequence]]:
    """The rows of every step, in the trainer's order."""
    order = [
        i for epoch in range(settings.epochs) for i in epoch_order(len(units), settings.seed, epoch)
    ]
    each = settings.rows_per_step
    groups = [order[first : first + each] for first in range(0, len(order), each)]
    return [[row for i in group for row in units[i].rows] for group in groups]


def work_per_token(model: nn.Module) -> float:
    """Operations that the adapted linear maps need for one token, forward and backward.

    A frozen matrix of n numbers takes 2n forward and 2n for the gradient of its input, one of the
    adapter 2n more for its own.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    maps = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
    frozen = sum(m.in_features * m.out_features for m in maps)
    adapter = sum(RANK * (m.in_features + m.out_features) for m in maps)
    return 4.0 * frozen + 6.0 * adapter


def product_gflops(compute: str, size: int = 2048, repeats: int = 7) -> float:
    """Median speed of a large matrix product, 1e9 operations a second."""
    dtype = torch.bfloat16 if compute == "bfloat16" else torch.float32
    left, right = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds) / 1e9


def report(outcome: Outcome | dict[str, str]) -> None:
    """One JSON line for the starting process; all else that a library prints goes to stderr."""
    line = asdict(outcome) if isinstance(outcome, Outcome) else outcome
    print(json.dumps(line), file=_answers, flush=True)


def _plain(loaded: LoadedModel, row: Row) -> TrainingSequence:
    """A text, ended by the end-of-text token; or ids, of which the last few are trained."""
    if "ids" in row:
        ids, start = row["ids"], len(row["ids"]) - row["trained"]
    else:
        tokenizer = loaded.tokenizer
        ids = tokenizer(row["prompt"] + row["completion"] + tokenizer.eos_token).input_ids
        start = common(tokenizer(row["prompt"]).input_ids, ids)
    return TrainingSequence(ids, [place >= start for place in range(len(ids))])


def _turns(raw: Sequence[dict[str, str]]) -> tuple[Message, ...]:
    return tuple(Message.from_dict(turn) for turn in raw)


_answers = os.fdopen(os.dup(1), "w")

if __name__ == "__main__":
    os.dup2(2, 1)
    report(train(Job.read()))
