"""A fine-tuning whose workers are killed with SIGKILL, beside one whose worker is left alone.

    ASSAY_CACHE=... python -m tests.jobs.killing FOLDER KILLS SEED [judged]

`judged`: it learns from a grader that asks a model. A worker dies after some more steps were told,
at a call of fsync or rename, or before a commit. Prints JSON: `whole` and `killed` (all that is
left, without ids and times) and `deaths`. A process of its own, because forking is safe only before
torch has started threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import Engine, event, select
from tests.jobs.tiny_tuning import POLITE, PROJECT, prompts, queued, reinforced
from tests.train.killing import child

from assay.jobs import fine_tuning, tuning_work
from assay.jobs.events import read_events
from assay.jobs.service import recover, work_on
from assay.models.versions import list_versions
from assay.store import stored_files
from assay.store.store import Store
from assay.store.tables import FileRow, ServedNameRow


def work(folder: Path, die_at: tuple[str, int] | None = None) -> None:
    """What `assay worker` does, until nothing waits; dies at that write or commit."""
    torch.set_num_threads(1)
    tuning_work.TrainingJob = partial(  # type: ignore[assignment,misc]
        tuning_work.TrainingJob, compute="float32", checkpoint_seconds=0
    )
    if die_at is not None:
        _die(*die_at)
    store = Store(folder)
    recover(store)
    worker = work_on(store)
    while worker.once():
        fine_tuning.sweep(store)


def _die(kind: str, count: int) -> None:
    left = [count]

    def passed(*_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            passed()
            return call(*args)

        return wrapped

    if kind == "commit":
        event.listen(Engine, "commit", passed)
    else:
        os.fsync, os.replace = dying(os.fsync), dying(os.replace)


def told(folder: Path) -> int:
    """How many figures there are of steps and evaluations."""
    connection = sqlite3.connect(folder / "assay.db", timeout=10)
    try:
        query = "SELECT count(*) FROM job_events WHERE kind = 'metrics'"
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()


def left_behind(folder: Path, id: str) -> dict[str, Any]:
    """All that is left of a fine-tuning, without what differs from one to the next."""
    store = Store(folder)
    tuning = fine_tuning.find(store, PROJECT, id)
    result = tuning.result or {}
    name = result.get("model", "")
    with store.session() as session:
        names = session.scalars(select(ServedNameRow).order_by(ServedNameRow.name)).all()
        files = session.scalars(select(FileRow).order_by(FileRow.key)).all()
    figures = [e.data for e in read_events(store, id) if e.kind == "metrics" and e.data]
    table = stored_files.path_of(store, result["result_file"]).read_bytes() if result else b""
    checkpoints, _ = fine_tuning.checkpoints(store, PROJECT, id)
    versions = list_versions(store)
    left = {
        "status": tuning.status,
        "error": tuning.error,
        "version": result.get("version"),
        "trained_tokens": result.get("trained_tokens"),
        "chosen": tuning.chosen,
        "figures": figures,
        "table": hashlib.sha256(table).hexdigest(),
        "names": [[row.name.removeprefix(name), row.target] for row in names],
        "checkpoints": [[c.step, c.version, c.metrics] for c in checkpoints],
        "versions": sorted(version.id for version in versions),
        "files": [row.purpose for row in files],
        "bytes": len(list((store.folder / "files").iterdir())),
        "work": sorted(path.name for path in (store.folder / "work").glob("ftjob-*")),
    }
    store.engine.dispose()
    return left


def prepare(folder: Path, *, judged: bool) -> str:
    """A queue with one fine-tuning; its id."""
    store = Store(folder)
    if judged:
        id = queued(store, prompts(), hyperparameters=None, method=reinforced(grader=POLITE))
    else:
        id = queued(store)
    store.engine.dispose()
    return id


def main(folder: Path, kills: int, seed: int, *, judged: bool) -> None:
    """One whole run, then one whose worker is killed `kills` times."""
    chance = random.Random(seed)
    whole, killed = folder / "whole", folder / "killed"
    ids = prepare(whole, judged=judged), prepare(killed, judged=judged)
    if child(lambda: work(whole)):
        raise SystemExit("the run that nobody kills failed")
    deaths: list[str] = []
    while len(deaths) < kills:
        kind = ("step", "write", "commit")[(len(deaths) + seed) % 3]
        if kind == "step":
            due_at, delay = told(killed) + chance.randint(1, 3), chance.uniform(0, 0.02)

            def due(due_at: int = due_at, delay: float = delay) -> bool:
                if told(killed) < due_at:
                    return False
                time.sleep(delay)
                return True

            code = child(lambda: work(killed), due)
            how = f"{delay:.3f} s after {due_at} figures"
        else:
            point = (kind, chance.randrange(10, 60) if kind == "write" else chance.randrange(2, 14))
            code = child(partial(work, killed, point))
            how = f"{point[0]} {point[1]}"
        if code != -signal.SIGKILL:
            break  # it was done before its time
        deaths.append(how)
    if child(lambda: work(killed)):
        raise SystemExit("the last run failed")
    found = [left_behind(place, id) for place, id in zip((whole, killed), ids, strict=True)]
    print(json.dumps({"whole": found[0], "killed": found[1], "deaths": deaths}))


def run() -> None:
    """As the command line says."""
    place, kills, seed, *kind = sys.argv[1:]
    main(Path(place), int(kills), int(seed), judged=kind == ["judged"])


if __name__ == "__main__":
    run()
