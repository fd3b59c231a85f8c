"""Changes a knowledge base in child processes, kills them with SIGKILL, and looks at what is left.

    python -m tests.knowledge.killing FOLDER KILLS SEED

Half of the kills come at a random time, half before a random step (statement, commit, text kept,
passages added, table indexed, table dropped). After each one the present state must be whole, as it
was before the change or as it is after it; all the while a reader searches and must never fail.
Prints JSON: `deaths` (how each child died), `states` (that were seen), `asked` (by the reader).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event
from tests.knowledge.wordy import Wordy

from assay.knowledge import build, records, table, texts
from assay.knowledge.base import KnowledgeBase
from assay.store.store import Store

DOCUMENTS = 12


def opened(folder: Path) -> KnowledgeBase:
    store = Store(folder / ".assay")
    return KnowledgeBase(store, "shop", "manuals", embedders=lambda _: Wordy())


def change(folder: Path, seed: int, die_at: int | None) -> None:
    """Change files, add and remove them, again and again."""
    chance = random.Random(seed)
    base = opened(folder)
    build._EMBEDDED_AT_ONCE = 2  # many steps
    if die_at is not None:
        left = [die_at]

        def step(*_: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(base._store.engine, "before_cursor_execute", step)
        event.listen(base._store.engine, "commit", step)
        for owner, name in (
            (texts.Texts, "put"),
            (build._Writer, "add"),
            (build, "index"),
            (table.Tables, "drop"),
            (texts.Texts, "sweep"),
            (records, "swap"),
        ):
            _before(owner, name, step)
    print("ready", flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        file = folder / "docs" / f"{chance.randrange(1, DOCUMENTS)}.txt"
        if chance.random() < 0.3 and any(d.path == str(file) for d in base.documents()):
            base.remove([str(file)])
        else:
            file.write_text(f"Document {file.stem} of edition {chance.randrange(10**6)}.")
            base.add([file])


def _before(owner: Any, name: str, step: Callable[[], None]) -> None:
    plain = getattr(owner, name)

    def stepping(*given: Any, **named: Any) -> Any:
        step()
        return plain(*given, **named)

    setattr(owner, name, stepping)


def read(folder: Path) -> None:
    """Search until the file `over` is there; writes what went wrong, and how often it asked."""
    base, asked, strange = opened(folder), 0, []
    parent = os.getppid()
    while not (folder / "over").exists() and os.getppid() == parent:
        try:
            for mode in ("bm25", "dense", "hybrid"):
                asked += 1
                [found] = base.search(["document anchor"], k=3, mode=mode)  # type: ignore[arg-type]
                if found[0].document != str(folder / "docs" / "0.txt"):
                    strange.append(f"{mode}: {found}")
        except Exception as error:
            strange.append(repr(error))
    (folder / "asked").write_text(json.dumps({"asked": asked, "strange": strange[:5]}))


def check(folder: Path) -> str:
    """What must hold whenever a process died; returns the snapshot."""
    base = opened(folder)
    found = base.check()
    assert found.damage == (), found.damage
    assert str(folder / "docs" / "0.txt") in [d.path for d in base.documents()]
    for document in base.documents():
        [passages] = base.search([f"Document {Path(document.path).stem}"], k=50, mode="bm25")
        assert document.path in [p.document for p in passages]
    return base.snapshot


def main(folder: Path, kills: int, seed: int) -> None:
    """Kill `kills` times, checking after each."""
    chance = random.Random(seed)
    docs = folder / "docs"
    docs.mkdir(parents=True)
    (docs / "0.txt").write_text("Document anchor, which stays.")
    for number in range(1, DOCUMENTS):
        (docs / f"{number}.txt").write_text(f"Document {number}.")
    opened(folder).add([docs])
    itself = [sys.executable, "-m", "tests.knowledge.killing"]
    reader = subprocess.Popen([*itself, "read", str(folder)])
    deaths, states = [], set()
    try:
        for kill in range(kills):
            die_at = None if kill % 2 else chance.randint(1, 120)
            told = [str(folder), str(chance.randrange(2**32)), str(die_at or "")]
            child = subprocess.Popen([*itself, "change", *told], stdout=subprocess.PIPE)
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            if die_at is None:
                after = chance.uniform(0, 0.5)
                time.sleep(after)
                child.kill()
                deaths.append(f"after {after:.3f} s")
            else:
                deaths.append(f"before step {die_at}")
            if child.wait(60) != -signal.SIGKILL:
                raise SystemExit("the child ended before it was killed")
            states.add(check(folder))
    finally:
        (folder / "over").write_text("")
        reader.wait(60)
    heard = json.loads((folder / "asked").read_text())
    assert heard["strange"] == [], heard["strange"]
    # The next change sweeps what the killed ones left.
    (docs / "last.txt").write_text("The last one.")
    base = opened(folder)
    base.add([docs / "last.txt"])
    assert base.check().leftovers == 0
    print(json.dumps({"deaths": deaths, "states": len(states), "asked": heard["asked"]}))


if __name__ == "__main__":
    if sys.argv[1] == "read":
        read(Path(sys.argv[2]))
    elif sys.argv[1] == "change":
        change(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if sys.argv[4] else None)
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
