"""Trains a tiny model in child processes, kills them with SIGKILL, and compares what is left.

    python -m tests.train.killing FOLDER KILLS SEED sft|text|dpo|reinforcement

`sft` drops out, which keeps PEFT's own layers; `dpo` has none: fused layers, two threads, and a
prompt that all pairs share, so that passes are trees; `reinforcement` draws its answers anew;
`text` goes on from another training.

Prints JSON: `whole` and `killed` (digests of all that a run leaves, without its clock), `deaths`
(how each child died) and `resumed` (the steps after which a child went on). A process of its own,
because forking is safe only before torch has started threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft  # noqa: F401  # once, before the forks
import torch
from tests.generate import tiny as written
from tests.train import graded
from tests.train.tiny import SETTINGS, rows, tiny_loaded

from assay.chat.template import Template
from assay.models.versions import LocalVersion
from assay.progress import SILENT
from assay.train import adapters, checkpoints
from assay.train.documents import TextDocument, document_units
from assay.train.job import TrainingJob
from assay.train.sequences import TrainingSequence, alone
from assay.train.session import train_by_method
from assay.train.units import Pair

SFT = SETTINGS.model_copy(update={"dropout": 0.2, "epochs": 5})
DPO = SETTINGS.model_copy(update={"method": "dpo", "epochs": 5, "max_tokens": 128})
TEXT = SETTINGS.model_copy(update={"method": "text", "epochs": 2})
SHARED = 70  # tokens; above the least that makes a node


def pairs(count: int, seed: int) -> list[Pair]:
    """A prompt begun alike, ended each in its own way, with a better and a worse answer."""
    start = [3 + n % 90 for n in range(SHARED)]

    def answered(row: TrainingSequence, answer: list[int]) -> TrainingSequence:
        prompt = start + row.ids[:-3]
        return TrainingSequence(prompt + answer, [False] * len(prompt) + [True] * len(answer))

    return [
        Pair((answered(row, row.ids[-3:]), answered(row, [9, 8, 7, row.ids[-1]])))
        for row in rows(count, seed)
    ]


class Listener:
    """Writes down the steps after which a training went on."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def say(self, line: str) -> None:
        with self.file.open("a") as out:
            out.write(line + "\n")

    task = SILENT.task


def train_once(folder: Path, method: str, die_at_write: int | None = None) -> None:
    """One training; with `die_at_write`, the process dies at that call of fsync or rename."""
    torch.set_num_threads(2 if method == "dpo" else 1)
    checkpoints.clear = lambda _folder: None  # type: ignore[assignment]  # left to be compared
    if die_at_write is not None:
        left = [die_at_write]

        def dying(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args)

            return wrapped

        os.fsync, os.replace = dying(os.fsync), dying(os.replace)
    if method == "reinforcement":
        listener = Listener(folder.with_suffix(".log"))
        train_by_method(graded.job(folder, progress=listener, checkpoint_seconds=0))
        return
    if method == "text":
        train_by_method(on_documents(folder))
        return
    job = TrainingJob(
        tiny_loaded(),
        pairs(22, 0) if method == "dpo" else alone(rows(22)),
        pairs(6, 1) if method == "dpo" else alone(rows(6, seed=1)),
        DPO if method == "dpo" else SFT,
        folder,
        Listener(folder.with_suffix(".log")),
        compute="float32",
        checkpoint_seconds=0,
    )
    train_by_method(job)


def on_documents(folder: Path) -> TrainingJob:
    """A training on documents that goes on from weights of another seed."""
    loaded, start = written.tiny_loaded(), folder.with_suffix(".start")
    start.mkdir(exist_ok=True)
    with adapters.adapt(loaded, TEXT.model_copy(update={"seed": 5})) as model:
        adapters.write(start, model, adapters.weights(model))
    texts = [TextDocument(f"{n}", f"Part {n} of a manual. " * (n % 7 + 1)) for n in range(16)]
    template = Template.of(loaded.tokenizer)
    return TrainingJob(
        loaded,
        document_units(texts[4:], template, TEXT.max_tokens),
        document_units(texts[:4], template, TEXT.max_tokens),
        TEXT,
        folder,
        Listener(folder.with_suffix(".log")),
        compute="float32",
        checkpoint_seconds=0,
        start=LocalVersion("start", None, "", None, start),  # type: ignore[arg-type]
    )


def steps_done(folder: Path) -> int:
    """The newest checkpoint of a run, 0 where there is none."""
    found = (folder / "checkpoints").glob("step-*")
    return max((int(path.name.removeprefix("step-")) for path in found), default=0)


def child(work: Callable[[], None], kill_when: Callable[[], bool] | None = None) -> int:
    """Run `work` in a fork, killed once `kill_when` holds; its exit code, negative for a signal."""
    number = os.fork()
    if number == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    while kill_when is not None:
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:  # it was done before its time
            return os.waitstatus_to_exitcode(status)
        if kill_when():
            os.kill(number, signal.SIGKILL)
            break
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def left_behind(folder: Path) -> dict[str, Any]:
    """Digests of the adapter and of the last checkpoint, and the log, without times."""
    last = sorted((folder / "checkpoints").glob("step-*"))[-1]
    files = [
        folder / "adapter" / "adapter_model.safetensors",
        folder / "adapter" / "adapter_config.json",
        last / checkpoints.WEIGHTS,
        last / checkpoints.OPTIMIZER,
    ]
    state = json.loads((last / checkpoints.STATE).read_text())["state"]
    for clock in ("seconds", "peak_bytes"):
        state.pop(clock)
    return {
        "state": state,
        "last": last.name,
        **{str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
    }


def main(folder: Path, kills: int, seed: int, method: str) -> None:
    """One whole run, then one that is killed `kills` times, half by time, half while writing."""
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    if child(lambda: train_once(folder / "whole", method)):
        raise SystemExit("the run that nobody kills failed")
    deaths: list[str] = []
    while len(deaths) < kills:
        if len(deaths) % 2:
            # About a dozen calls a checkpoint: far enough to get on, near enough to be killed.
            point = chance.randrange(10, 30)
            code = child(lambda at=point: train_once(folder / "killed", method, at))  # type: ignore[misc]
            how = f"write {point}"
        else:
            at_step = steps_done(folder / "killed") + chance.randint(1, 2)
            delay = chance.uniform(0, 0.02)

            def due(at_step: int = at_step, delay: float = delay) -> bool:
                if steps_done(folder / "killed") < at_step:
                    return False
                time.sleep(delay)
                return True

            code = child(lambda: train_once(folder / "killed", method), due)
            how = f"{delay:.3f} s after step {at_step}"
        if code != -signal.SIGKILL:
            break  # it was done before its time
        deaths.append(how)
    if child(lambda: train_once(folder / "killed", method)):
        raise SystemExit("the last run failed")
    log = folder / "killed.log"
    said = log.read_text().splitlines() if log.exists() else []
    resumed = [int(line.split()[3]) for line in said if line.startswith("Continuing after step")]
    print(
        json.dumps(
            {
                "whole": left_behind(folder / "whole"),
                "killed": left_behind(folder / "killed"),
                "deaths": deaths,
                "resumed": resumed,
            }
        )
    )


def run() -> None:
    """As the command line says."""
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])


if __name__ == "__main__":
    run()
