"""Log-probabilities under the model that preference training starts from: computed once.

    <folder>/reference.json     key (base weights, rows, number format), one number a row, and the
                                seconds that it took (`assay.train.sealed`)

They are computed before there is an adapter, in the number format of the training, so that the
first step's log-ratios are those of a model that has not moved. The file grows block by block and
is replaced as a whole each time: a killed run goes on at the block it was in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

from assay.errors import ModelError
from assay.example import json_sha256
from assay.train import sealed
from assay.train.device import computing
from assay.train.fused import wide_stream
from assay.train.job import TrainingJob
from assay.train.sequences import TrainingSequence, Unit, fingerprint
from assay.train.step import sequence_logps

FILE = "reference.json"
FORMAT = 3
BLOCK = 256
"""Rows between two writes; even, so that both rows of a pair go through the model together."""


def with_reference(
    job: TrainingJob, train: Sequence[Unit], validation: Sequence[Unit], compute: str
) -> tuple[list[Unit], list[Unit], float]:
    """The units with `Unit.reference`, and the seconds of work that it took in all processes.

    Args:
        compute: number format of the matrix multiplications.
    """
    both = [*train, *validation]
    rows = [row for unit in both for row in unit.measured]
    logps, seconds = reference_logps(job, rows, compute)
    left = iter(logps)
    made = [replace(unit, reference=tuple(islice(left, len(unit.measured)))) for unit in both]
    return made[: len(train)], made[len(train) :], seconds


def reference_logps(
    job: TrainingJob, rows: Sequence[TrainingSequence], compute: str
) -> tuple[list[float], float]:
    """Log-probability (nats) of each row's trained tokens together under the base model.

    Returns:
        One number a row, and the seconds of work they took in all processes.

    Args:
        job: its base weights compute them, its folder keeps them.
        compute: number format of the matrix multiplications.

    Raises:
        ModelError: one of them is not a finite number.
    """
    path, loaded, tokens = job.folder / FILE, job.loaded, job.settings.tokens_per_pass
    key = json_sha256(
        {
            "format": FORMAT,
            "base": loaded.weights_sha256,
            "dtype": loaded.dtype,
            "compute": compute,
            "tokens": tokens,
            "rows": fingerprint(rows),
        }
    )
    kept = sealed.read(path, key, job.progress) or {"logps": [], "seconds": 0.0}
    known, seconds = list(kept["logps"]), float(kept["seconds"])
    if len(known) == len(rows):
        return known, seconds
    with (
        job.progress.task("reference log-probabilities", len(rows), "rows") as bar,
        computing(loaded.model, compute),
        wide_stream(loaded.model) if compute == "bfloat16" else nullcontext(),
    ):
        bar.advance(len(known))
        while len(known) < len(rows):
            began = time.monotonic()
            block = rows[len(known) : len(known) + BLOCK]
            known += sequence_logps(loaded.model, block, tokens).tolist()
            if not all(math.isfinite(value) for value in known[-len(block) :]):
                raise ModelError(
                    "the base model gives some of the answers no finite log-probability.",
                    where=loaded.ref,
                    fix="Check its weights, or choose another model.",
                )
            seconds += time.monotonic() - began
            sealed.write(path, {"key": key, "logps": known, "seconds": seconds})
            bar.advance(len(block))
    return known, seconds
