"""What workers on Ray bring: trainings an hour and rows of a comparison a second.

    pip install -e '.[bench,ray]'
    python bench/scale.py [--quick] [--json]

SmolLM2-135M-Instruct is trained several times (LoRA of rank 16, another seed each), and answers
batches of requests: in this process, by one worker with as many threads, and by two that share
them. Each way is a process of its own, which starts Ray itself and stops it; its time is that of
the whole work, start included. One worker against this process is what Ray costs; the bar is 5 % of
a work that takes more than two minutes here. The exit code is 1 where it is missed.

Takes about half an hour on two cores, which must have nothing else to do: the load of the machine
is printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.place.opening import LazyWorkers

BAR = 0.05
LONG_S = 120.0
TOKENS, SHARED, TRAINED = 128, 96, 8
WAYS = {"this process": 0, "1 worker": 1, "2 workers": 2}


@dataclass(frozen=True)
class Amount:
    """How much work is measured.

    Attributes:
        trainings: of `rows` rows each, `epochs` times.
        requests: in batches of `batch`.
    """

    trainings: int = 4
    rows: int = 160
    epochs: int = 2
    requests: int = 3072
    batch: int = 64


QUICK = Amount(trainings=2, rows=8, epochs=1, requests=8, batch=4)


@dataclass(frozen=True)
class Line:
    """What one way took for one kind of work.

    Attributes:
        rate: trainings an hour, or rows a second.
    """

    work: str
    way: str
    seconds: float
    rate: float


def train(amount: Amount, workers: int) -> None:
    """Several trainings that differ in their seed."""
    from assay.config import FineTune
    from assay.defaults import STARTER_MODEL
    from assay.models.load import load_to_train
    from assay.train.job import TrainingJob
    from assay.train.many import train_many
    from assay.train.sequences import TrainingSequence, alone
    from assay.train.session import train_by_method

    loaded = load_to_train(STARTER_MODEL)
    draw = random.Random(0)
    prefix = [draw.randrange(100, 40_000) for _ in range(SHARED)]
    mask = [False] * (TOKENS - TRAINED) + [True] * TRAINED

    def rows(count: int) -> list[TrainingSequence]:
        own = TOKENS - SHARED
        return [
            TrainingSequence(prefix + [draw.randrange(100, 40_000) for _ in range(own)], mask)
            for _ in range(count)
        ]

    units, checks = alone(rows(amount.rows)), alone(rows(max(2, amount.rows // 8)))
    with tempfile.TemporaryDirectory() as folder, started(workers) as found:
        jobs = [
            TrainingJob(
                loaded,
                units,
                checks,
                FineTune(epochs=amount.epochs, seed=seed),
                Path(folder) / str(seed),
                beside=max(1, workers),
            )
            for seed in range(amount.trainings)
        ]
        if found is None:
            for job in jobs:
                train_by_method(job)
        else:
            train_many(jobs, found.to_train(amount.rows), _ended)


def answer(amount: Amount, workers: int) -> None:
    """Requests that share a prefix, as those of a comparison do."""
    from assay.agent.agent import Agent
    from assay.agent.engines import BatchEngines
    from assay.defaults import STARTER_MODEL
    from assay.evaluate.run import run
    from assay.evaluate.worker_answers import answer_by_workers
    from assay.example import Message
    from assay.generate.batch import Request
    from assay.store.store import Store

    draw = random.Random(0)
    system = Message("system", "You sort messages of customers. " * 12)
    requests = [
        Request((system, Message("user", f"Message {draw.randrange(10**6)}")), max_new_tokens=16)
        for _ in range(amount.requests)
    ]
    with tempfile.TemporaryDirectory() as folder, started(workers) as found:
        store = Store(Path(folder))
        engine = BatchEngines(store).for_agent(Agent(model=STARTER_MODEL))
        together = None if found is None else answer_by_workers(found, STARTER_MODEL, engine, store)
        run(
            requests,
            engine,
            agent_id="bench",
            folder=Path(folder) / "runs",
            batch_size=amount.batch,
            together=together,
        )


@contextmanager
def started(workers: int) -> Iterator[LazyWorkers | None]:
    """Workers, or None for none."""
    from assay.config import Place
    from assay.place.opening import workers_of
    from assay.progress import SILENT

    place = Place(on="ray", workers=workers) if workers else Place()
    with workers_of(place, SILENT) as found:
        yield found


def _ended(place: int, outcome: object) -> None:
    if isinstance(outcome, Exception):
        raise outcome


WORKS: dict[str, tuple[Callable[[Amount, int], None], Callable[[Amount, float], float]]] = {
    "trainings an hour": (train, lambda amount, seconds: 3600 * amount.trainings / seconds),
    "rows a second": (answer, lambda amount, seconds: amount.requests / seconds),
}


def timed(work: str, amount: Amount, workers: int) -> float:
    """Seconds of the work in a process of its own, whose imports are not counted."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_timed, args=(work, amount, workers, theirs))
    process.start()
    theirs.close()
    try:
        seconds: float = ours.recv()
    finally:
        process.join()
    return seconds


def _timed(
    work: str, amount: Amount, workers: int, end: multiprocessing.connection.Connection
) -> None:
    import assay.evaluate.worker_answers
    import assay.train.many  # noqa: F401

    began = time.monotonic()
    WORKS[work][0](amount, workers)
    end.send(time.monotonic() - began)


def main() -> int:
    """Measure, print, and say whether the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a little of each, to see it run")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    amount = QUICK if given.quick else Amount()
    load = os.getloadavg()[0]
    lines = []
    for work, (_, rate) in WORKS.items():
        for way, workers in WAYS.items():
            seconds = timed(work, amount, workers)
            lines.append(Line(work, way, seconds, rate(amount, seconds)))
            print(f"{work:18} {way:13} {seconds:8.1f} s {lines[-1].rate:9.2f}", file=sys.stderr)
    took = {(one.work, one.way): one.seconds for one in lines}
    costs = {work: took[work, "1 worker"] / took[work, "this process"] - 1 for work in WORKS}
    if given.json:
        print(json.dumps({"load": load, "lines": [asdict(one) for one in lines], "costs": costs}))
    else:
        print(f"load before: {load:.1f}")
        for work, cost in costs.items():
            print(f"Ray costs {100 * cost:.1f} % of the time ({work})")
    long = [work for work in WORKS if took[work, "this process"] > LONG_S]
    return int(any(costs[work] > BAR for work in long))


if __name__ == "__main__":
    sys.exit(main())
