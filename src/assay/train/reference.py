"""Log-probabilities under the model that preference training starts from: computed once.

    <folder>/reference.json     key (base weights, rows, number format), one number a row, seconds
                                that it took, sha256

They are computed before there is an adapter, in the number format of the training, so that the
first step's log-ratios are those of a model that has not moved. The file grows block by block and
is replaced as a whole each time: a killed run goes on at the block it was in.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.errors import ModelError
from assay.example import canonical_json
from assay.models.load import LoadedModel
from assay.progress import Progress
from assay.store.files import write_json
from assay.train.device import computing
from assay.train.job import TrainingJob
from assay.train.sequences import TrainingSequence, fingerprint
from assay.train.step import sequence_logps

FILE = "reference.json"
FORMAT = 2
BLOCK = 256
"""Rows between two writes; even, so that both rows of a pair go through the model together."""


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
    key = _key(loaded, rows, compute, tokens)
    known, seconds = _read(path, key, job.progress)
    if len(known) == len(rows):
        return known, seconds
    with (
        job.progress.task("reference log-probabilities", len(rows), "rows") as bar,
        computing(loaded.model, compute),
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
            _write(path, key, known, seconds)
            bar.advance(len(block))
    return known, seconds


def _key(loaded: LoadedModel, rows: Sequence[TrainingSequence], compute: str, tokens: int) -> str:
    parts = {
        "format": FORMAT,
        "base": loaded.weights_sha256,
        "dtype": loaded.dtype,
        "compute": compute,
        "tokens": tokens,
        "rows": fingerprint(rows),
    }
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def _read(path: Path, key: str, progress: Progress) -> tuple[list[float], float]:
    """What is known already: nothing where the file belongs to other data or is damaged."""
    try:
        raw = json_reader.read(path.read_text("utf-8"))
        digest = raw.pop("sha256")
        whole = digest == _digest(raw)
    except FileNotFoundError:
        return [], 0.0
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        whole = False
    if not whole:
        progress.say(f"{path}: the reference log-probabilities are damaged; computing them again.")
        return [], 0.0
    return (list(raw["logps"]), float(raw["seconds"])) if raw["key"] == key else ([], 0.0)


def _write(path: Path, key: str, logps: list[float], seconds: float) -> None:
    body = {"key": key, "logps": logps, "seconds": seconds}
    write_json(path, {**body, "sha256": _digest(body)})


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()
