"""One training of an embedder or a cross-encoder as a value: what is trained on what, and how."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay.errors import ModelError
from assay.example import json_sha256
from assay.models.device import best_device
from assay.models.embed import SentenceModel
from assay.progress import SILENT, Progress
from assay.train.auto import SIZE_POWER
from assay.train.encoder.objective import Objective

TRAINER = 1  # raised when the same settings and data would train other weights
REFERENCE_RATE, REFERENCE_PARAMETERS = 1e-4, 23e6
"""The highest learning rate, and the weights of the starter embedder, where it was tried."""


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How a model is trained.

    Attributes:
        epochs: at most.
        evaluations: of validation in an epoch, the last at its end. The training ends where
            validation does not improve for `patience` of them.
        learning_rate: highest; linear warm-up over the share `warmup` of all steps, then half a
            cosine to 0.
        clip: longest gradient.
    """

    epochs: int
    evaluations: int = 1
    rows_per_step: int = 16
    learning_rate: float = REFERENCE_RATE
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    patience: int = 2
    seed: int = 0


def learning_rate(parameters: int, reference: float = REFERENCE_RATE) -> float:
    """The highest of a model with so many weights: larger ones get less, as in `train.auto`.

    Args:
        reference: that of `REFERENCE_PARAMETERS` weights.
    """
    size = max(1.0, parameters / REFERENCE_PARAMETERS)
    return float(f"{reference * size**-SIZE_POWER:.1e}")


@dataclass(frozen=True, slots=True)
class EncoderJob:
    """One training.

    Attributes:
        base: the model that it starts from; left as it is.
        objective: what it is trained on, and how that is measured.
        folder: where work in progress is; the run has a folder of its own there.
        rows: that are behind the objective (`models.lineage.keep_rows`), kept with the model.
    """

    base: SentenceModel
    objective: Objective[Any]  # of models of the base's kind
    settings: EncoderSettings
    folder: Path
    progress: Progress = SILENT
    rows: str | None = None

    def key(self) -> str:
        """A hash of all that the run depends on."""
        return json_sha256(
            {
                "trainer": TRAINER,
                self.base.kind: self.base.identity,
                **self.objective.content(),
                "rows": self.rows,
                "settings": asdict(self.settings),
                "device": best_device(),
            }
        )


def no_memory(what: str, job: EncoderJob) -> ModelError:
    """The error of a training that does not fit, with what to change."""
    return ModelError(
        what,
        where=job.base.name,
        fix=f"Use a smaller {job.base.kind}, or close other programs.",
    )
