"""A work of `bench/contention.py`, in a process of its own: it works when it is told to.

    python bench/contention_work.py training

Prints `{"unit": ...}` when it is ready. For every line with a number of seconds that it reads it
works so long, one piece of work at least, and prints how many units it did in how many seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if sys.argv[1:] == ["trl"]:  # as its users run it: nothing has chosen how its threads wait
    import trl

    assert trl

from assay.chat.template import Template
from assay.config import FineTune
from assay.example import Message
from train_works import ALPHA, MODEL, RANK, Job, Setting, works

PROMPT = "Tell a long story about a lighthouse keeper and the ship that never came."
TOKENS = 64  # of an answer
TEXTS = 64  # embedded at once
ROWS_PER_STEP, STEPS = 2, 150
WARM_S = 3.0


class Turns:
    """Called after every piece of work with its units; waits there until more is wanted."""

    def __init__(self, unit: str) -> None:
        self.unit, self.ready = unit, False
        self.said = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # all else that a library prints
        self.units, self.started, self.window = 0.0, time.perf_counter(), WARM_S

    def __call__(self, units: float) -> None:
        """Count them; at the end of a window tell, and wait for the next."""
        self.units += units
        seconds = time.perf_counter() - self.started
        if seconds < self.window:
            return
        done = {"units": self.units, "seconds": seconds} if self.ready else {"unit": self.unit}
        self.ready = True
        print(json.dumps(done), file=self.said, flush=True)
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        self.units, self.started, self.window = 0.0, time.perf_counter(), float(line)


def job() -> Job:
    """The training of both sides: rows of middle length that share nothing, so steps are alike."""
    count = ROWS_PER_STEP * STEPS
    by_length = sorted(works(-(-count // 32))["sft-unique"].rows, key=lambda r: len(r["prompt"]))
    first = (len(by_length) - count) // 2
    return Job("sft", by_length[first : first + count], rows_per_step=ROWS_PER_STEP)


def tokens_of_steps(loaded: Any, given: Job) -> list[int]:
    """As rendered, in the order of both sides."""
    from train_ours import rendered, steps_of

    units = rendered(loaded, Template.of(loaded.tokenizer), given.method, given.rows)
    settings = FineTune(rows_per_step=ROWS_PER_STEP, epochs=1, seed=given.seed)
    return [sum(len(row.ids) for row in step) for step in steps_of(units, settings)]


def training(turns: Turns) -> None:
    """Assay's trainer."""
    from assay.models.load import load
    from assay.train.job import TrainingJob
    from assay.train.session import train_by_method
    from train_ours import Watch, rendered

    given, loaded = job(), load(MODEL)
    tokens = iter(tokens_of_steps(loaded, given))

    class Steps(Watch):
        def advance(self, amount: float = 1, **info: Any) -> None:
            if "loss" in info:
                turns(next(tokens))

    settings = FineTune(
        rank=RANK, alpha=ALPHA, epochs=1, rows_per_step=ROWS_PER_STEP, max_tokens=2048
    )
    units = rendered(loaded, Template.of(loaded.tokenizer), given.method, given.rows)
    watch = Steps(STEPS, float("inf"), leave=False)
    with TemporaryDirectory() as name:
        folder = Path(name)
        training = TrainingJob(
            loaded, units, units[:1], settings, folder, watch, checkpoint_seconds=float("inf")
        )
        train_by_method(training)


def peer(turns: Turns) -> None:
    """TRL's trainer on the same rows, by the setting that is fastest on such."""
    from transformers import TrainerCallback

    from assay.models.device import native_bfloat16
    from assay.models.load import load
    from assay.train.sequences import epoch_order
    from train_peer import made, trainer_arguments, written

    setting = Setting("bfloat16 weights" if native_bfloat16("cpu") else "float32", micro=1)
    weights = "bfloat16" if setting.format == "bfloat16 weights" else "float32"
    given, loaded = job(), load(MODEL, dtype=weights)
    tokens = iter(tokens_of_steps(loaded, given))

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            turns(next(tokens))

    order = epoch_order(len(given.rows), given.seed, 0)
    rows = [written(loaded, given.rows[place]) for place in order]
    with TemporaryDirectory() as folder:
        arguments = trainer_arguments(loaded, rows, given, setting, folder)
        made(loaded, rows, given, setting, arguments, Steps()).train()


def transformers(turns: Turns) -> None:
    """The engine for what llama.cpp cannot hold, one answer after the other."""
    from assay.generate.transformers.stream import TransformersStreamEngine
    from assay.models.device import fast_dtype
    from assay.models.load import load

    loaded = load(MODEL, dtype=fast_dtype())
    answer(
        TransformersStreamEngine(
            lambda: loaded, Template.of(loaded.tokenizer), loaded.tokenizer, loaded.context_length
        ),
        turns,
    )


def llamacpp(turns: Turns) -> None:
    """llama.cpp, one answer after the other."""
    from assay.generate.local_pool import LocalPool

    answer(LocalPool().engine(MODEL), turns)


def answer(engine: Any, turns: Turns) -> None:
    """Answers without end."""
    from assay.generate.stream import Piece, Sampling

    while True:
        sampling = Sampling(max_new_tokens=TOKENS, temperature=0.0)
        for piece in engine.chat([Message("user", PROMPT)], (), sampling):
            if isinstance(piece, Piece):
                turns(1)


def embedding(turns: Turns) -> None:
    """Passages of a knowledge base."""
    from assay.models.embed import load_embedder

    embedder = load_embedder()
    texts = [row["prompt"][:400] for row in job().rows[:TEXTS]]
    while True:
        embedder.encode(texts)
        turns(len(texts))


WORKS: dict[str, tuple[str, Callable[[Turns], None]]] = {
    "training": ("tokens", training),
    "trl": ("tokens", peer),
    "transformers": ("tokens", transformers),
    "llama.cpp": ("tokens", llamacpp),
    "embedding": ("texts", embedding),
}

if __name__ == "__main__":
    unit, work = WORKS[sys.argv[1]]
    work(Turns(unit))
