"""What is decided once, when a run begins, and holds until it is done.

    <folder>/choices.json     key of the run, and what was chosen (`assay.train.sealed`)

The same weights to the last bit need the same number format, threads and order of computation. So
a killed run goes on with them, whatever the machine would choose by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, get_args

import torch
from torch import nn

from assay.config import FineTune
from assay.errors import ModelError
from assay.example import json_sha256
from assay.models.device import available_bytes, ran_out
from assay.models.products import faster_format
from assay.models.quiet import silent_libraries
from assay.place.processes import threads_of_each
from assay.train import norm, sealed
from assay.train.device import Compute
from assay.train.estimate import check_memory, no_memory, training_bytes
from assay.train.job import TrainingJob
from assay.train.norm import Norms
from assay.train.sequences import fingerprint, rows_of
from assay.train.step import causal_lm

FILE = "choices.json"


@dataclass(frozen=True, slots=True)
class Choices:
    """How a run computes.

    Attributes:
        compute: the number format of the matrix multiplications.
        threads: torch's threads within an operation.
        activation_checkpointing: whether a layer's activations are computed again for the backward
            pass instead of being kept.
        norms: compiled or by torch's operations (`assay.train.norm`).
    """

    compute: Compute
    threads: int
    activation_checkpointing: bool
    norms: Norms = "operations"

    @property
    def key(self) -> dict[str, Any]:
        """What they add to a run's key; norms by operations nothing, as in older runs."""
        key = asdict(self)
        if self.norms == "operations":
            del key["norms"]
        return key

    def settle(self, settings: FineTune) -> FineTune:
        """Settings in which nothing of this is left open, to reckon memory with."""
        again = "on" if self.activation_checkpointing else "off"
        return settings.model_copy(update={"activation_checkpointing": again})

    @contextmanager
    def apply(self, model: nn.Module) -> Iterator[None]:
        """Within the block, `model` is trained this way (`compute` is up to `device.computing`)."""
        base, threads = causal_lm(model), torch.get_num_threads()
        torch.set_num_threads(self.threads)
        if self.activation_checkpointing:
            with silent_libraries():
                base.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
            # Needed only by the reentrant kind; it would stay on the model as a hook.
            base.disable_input_require_grads()  # type: ignore[operator]
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            if self.activation_checkpointing:
                with silent_libraries():
                    base.gradient_checkpointing_disable()  # type: ignore[operator]


def choose(job: TrainingJob) -> Choices:
    """What this checked job has chosen before, or chooses now and keeps in its folder.

    Raises:
        ModelError: the base weights are float16, whose gradients underflow, the model cannot
            compute activations twice and shall, or the memory will not suffice, or does not.
    """
    loaded, settings = job.loaded, job.settings
    if loaded.dtype == "float16":
        raise ModelError(
            "float16 weights cannot be trained safely: their gradients underflow.",
            where=loaded.ref,
            fix='Load the model with dtype "float32" or "bfloat16".',
        )
    parts = {
        "base": loaded.weights_sha256,
        "dtype": loaded.dtype,
        "device": loaded.model.device.type,
        "settings": settings.identity(),
        "train": fingerprint(rows_of(job.train)),
        "validation": fingerprint(rows_of(job.validation)),
        "compute": job.compute,
    }
    key = json_sha256(parts | job.place_key | job.method_key)
    known = sealed.read(job.folder / FILE, key, job.progress)
    if known is not None:
        choices = Choices(**known["choices"])
        if _may_compile(job) and choices.norms == "operations":
            job.progress.say("Norms take several kernels each, as when this training began.")
        return choices
    _check_possible(job)
    compute = job.compute
    if compute is None:
        own = loaded.dtype == "bfloat16"
        compute = "bfloat16" if own else faster_format(loaded.model.device.type)
    again = _checkpointing(job, compute)
    processes = max(job.place.size, job.beside)
    threads = threads_of_each(processes, torch.get_num_threads())
    choices = Choices(compute, threads, again, _norms(job, compute))
    sealed.write(job.folder / FILE, {"key": key, "choices": asdict(choices)})
    return choices


def _check_possible(job: TrainingJob) -> None:
    """Refuse what fits in no way that is left open, before a probe or a reference takes memory."""
    formats = (job.compute,) if job.compute else get_args(Compute)
    model, settings = job.loaded.model, job.settings
    ways = [settings]
    if settings.activation_checkpointing == "auto" and model.supports_gradient_checkpointing:
        ways.append(settings.model_copy(update={"activation_checkpointing": "on"}))
    largest = job.largest
    way, least = min(product(ways, formats), key=lambda one: training_bytes(model, largest, *one))
    check_memory(model, largest, way, least)


def _checkpointing(job: TrainingJob, compute: Compute) -> bool:
    """Where it is left open: only if it does not fit without, and does with."""
    loaded, settings = job.loaded, job.settings
    able = loaded.model.supports_gradient_checkpointing
    if settings.activation_checkpointing == "on" and not able:
        raise ModelError(
            f"{type(loaded.model).__name__} does not support activation checkpointing.",
            where=loaded.ref,
            fix="Set fine_tune.activation_checkpointing: off.",
        )
    if settings.activation_checkpointing != "auto" or not able:
        return settings.activation_checkpointing == "on"
    available = available_bytes(loaded.model.device)
    with_it, largest = settings.model_copy(update={"activation_checkpointing": "on"}), job.largest
    return (
        training_bytes(loaded.model, largest, settings, compute)
        > available
        >= training_bytes(loaded.model, largest, with_it, compute)
    )


def _may_compile(job: TrainingJob) -> bool:
    """Where norms are compiled if they can be; those of a full fine-tuning are trained."""
    on = job.loaded.model.device.type in norm.COMPILED_ON
    return on and job.settings.adapter != "full"


def _norms(job: TrainingJob, compute: Compute) -> Norms:
    """Compiled where torch can, else it is said why not."""
    if not _may_compile(job):
        return "operations"
    model = job.loaded.model
    try:
        why = norm.find_obstacle(model, compute)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        what = "memory ran out where norms were compiled."
        raise no_memory(what, model, job.largest, job.settings, compute) from None
    if why:
        job.progress.say(f"Norms take several kernels each: {why}.")
    return "operations" if why else "compiled"
