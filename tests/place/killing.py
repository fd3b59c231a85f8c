"""One process that sends work to a Ray cluster, to be killed, and to go on in a next one.

    RAY_ADDRESS=... python -m tests.place.killing training|comparison FOLDER

A training in two ranks, or a comparison by two workers, of what `prepare` has put into the folder.
`told` there has a line for each step, or each batch; `made.json` says in the end what was made.
While there is a file `hold` it does nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.small import small_project
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS, rows

from assay import project
from assay.config import Place
from assay.evaluate.run import run as run_batches
from assay.models.load import load
from assay.progress import SILENT, Task
from assay.train import adapters
from assay.train.job import TrainingJob
from assay.train.sequences import alone
from assay.train.session import train_by_method

RANKS = Place(on="ray", ranks=2, consent=True)
WORKERS = Place(on="ray", workers=2, consent=True, consent_to_answer=True)
RUN = SETTINGS.model_copy(update={"epochs": 100, "learning_rate": 2e-3, "patience": 1000})
TIMES = re.compile(r"(usd|_s|seconds|_at|yearly_cost|^at|sha256)$")


def prepare(what: str, folder: Path) -> None:
    """Write what is trained or compared."""
    if what == "training":
        tiny_model(initializer_range=0.1).save_pretrained(folder / "base")
        byte_tokenizer().save_pretrained(folder / "base")
        return
    small_project(folder, rows=240, edit={"seeds: 1": "seeds: 2"})


def train(folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """400 steps; a checkpoint after every fourth."""
    result = train_by_method(
        TrainingJob(
            load(str(folder / "base")),
            alone(rows(16)),
            alone(rows(6, seed=1)),
            RUN,
            folder / "run",
            compute="float32",
            checkpoint_seconds=1e9,
            on_step=lambda report: told(f"step {report.step}"),
            place=RANKS,
        )
    )
    weights = (result.adapter / adapters.WEIGHTS).read_bytes()
    points = [(one.step, one.train_loss, one.validation_loss) for one in result.points]
    return {"points": points, "weights": hashlib.sha256(weights).hexdigest()}


def compare(folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """A prompt and a version, which two workers train and let answer four requests at a time."""
    run_batches.__kwdefaults__ |= {"batch_size": 4}  # type: ignore[operator]
    opened = project.open(folder / "pets")
    some = {"candidates": ["prompt", "fine-tune"], "baselines": False, "place": WORKERS}
    opened.config = opened.config.model_copy(update=some)
    found = opened.compare(progress=Telling(lambda done: told(f"{done:g} done")))
    answers = gzip.decompress((found.folder / "answers.jsonl.gz").read_bytes())
    return {
        "result": without_times(found.result.model_dump(mode="json")),
        "answers": answers.decode("utf-8").splitlines(),
    }


def without_times(value: Any) -> Any:
    """A result without what a clock says, and what is reckoned of it."""
    if isinstance(value, list):
        return [without_times(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: without_times(one) for name, one in value.items() if not TIMES.search(name)}


class Telling(Watcher):
    """A progress that tells of batches that are answered, and of steps of trainings of workers."""

    def task(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Task]:
        told = label == "answering" or "at once" in label
        return super().task(label, total, unit) if told else SILENT.task("", 0, "")


def main(what: str, folder: Path) -> None:
    """Do the work, from the beginning or from where the process before was killed."""
    torch.set_num_threads(1)
    with (folder / "told").open("a") as file:

        def told(line: str) -> None:
            file.write(line + "\n")
            file.flush()
            while (folder / "hold").exists():
                time.sleep(0.01)

        made = train(folder, told) if what == "training" else compare(folder, told)
    written = folder / "made.json.part"
    written.write_text(json.dumps(made))
    written.rename(folder / "made.json")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
