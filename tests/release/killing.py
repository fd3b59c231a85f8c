"""Changes a release in child processes, kills them with SIGKILL, and looks at what is left.

    python -m tests.release.killing FOLDER KILLS SEED

Half of the kills come at a random time, half before a random statement or commit of a change.
After each one the release must be as it was before the change or as it is after it, with its line
in the audit log or without both; all the while a reader asks who answers. Prints JSON: `deaths`
(how each child died), `changes` (of the release, in all), `asked` (answers the reader got).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from sqlalchemy import event, select, text
from tests.release.shelf import PROJECT, shelf

from assay.release import changes, releases
from assay.store.store import Store
from assay.store.tables import AuditRow, ReleaseRow

NAME = "tickets"


def change(folder: Path, seed: int, told: int, die_at: int | None) -> None:
    """Change the release again and again; the number of each finished change goes to `told`."""
    store, chance = Store(folder), random.Random(seed)
    if die_at is not None:
        left = [die_at]

        def count(*_: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(store.engine, "before_cursor_execute", count)
        event.listen(store.engine, "commit", count)
    while True:
        what = chance.choice(("promote", "promote", "rollback", "canary"))
        label = f"tuned@{chance.randint(1, 3)}"
        try:
            if what == "promote":
                done = changes.promote(store, PROJECT, NAME, label, who="child", force="a test")
            elif what == "rollback":
                done = changes.rollback(store, PROJECT, NAME, who="child")
            else:
                share = chance.choice((0.1, 0.5))
                done = changes.canary(
                    store, PROJECT, NAME, share, label, who="child", force="a test"
                )
        except releases.ReleaseError:
            continue  # nothing to change
        os.write(told, f"{done.number}\n".encode())


def killed(folder: Path, seed: int, after_s: float | None, die_at: int | None) -> int:
    """Run a child until it dies; the number of the last change it has told of, 0 for none."""
    ear, mouth = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(ear)
        try:
            change(folder, seed, mouth, die_at)
        finally:
            os._exit(1)
    os.close(mouth)
    begun = b""
    if after_s is not None:
        begun = os.read(ear, 1)
        time.sleep(after_s)
        os.kill(number, signal.SIGKILL)
    status = os.waitpid(number, 0)[1]
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise SystemExit("the child ended before it was killed")
    with os.fdopen(ear, "rb") as lines:
        said = (begun + lines.read()).split()
    return int(said[-1]) if said else 0


def check(folder: Path, agents: list[str], told: int) -> int:
    """What must hold whenever a process died; returns how many changes there are."""
    store = Store(folder)
    with store.session() as session:
        assert session.scalar(text("PRAGMA quick_check")) == "ok"
        rows = session.scalars(select(ReleaseRow).order_by(ReleaseRow.number)).all()
        log = session.scalars(select(AuditRow).order_by(AuditRow.key)).all()
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert [f"release.{row.action}" for row in rows] == [line.action for line in log]
    assert len(rows) - told in (0, 1), (len(rows), told)
    assert all((row.canary is not None) == (row.share > 0) for row in rows)
    newest = rows[-1]
    served = {releases.resolve(store, PROJECT, NAME, f"user {n}") for n in range(50)}
    assert served <= {newest.agent, newest.canary} & set(agents)
    store.engine.dispose()
    return len(rows)


def main(folder: Path, kills: int, seed: int) -> None:
    """Kill `kills` times, checking after each."""
    chance = random.Random(seed)
    store, agents = shelf(folder)
    changes.promote(store, PROJECT, NAME, "tuned@1", who="parent", force="a test")
    store.engine.dispose()
    over, asked, strange = folder / "over", folder / "asked", folder / "strange"
    reader = os.fork()
    if reader == 0:
        mine, count = Store(folder), 0
        while not over.exists():
            count += 1
            answer = releases.resolve(mine, PROJECT, NAME, f"user {count % 97}")
            if answer not in agents:
                strange.write_text(str(answer))
        asked.write_text(str(count))
        os._exit(0)
    deaths, made = [], 1
    try:
        for kill in range(kills):
            if kill % 2:
                after, die_at = chance.uniform(0, 0.15), None
                deaths.append(f"{after:.3f} s after its first change")
            else:
                after, die_at = None, chance.randint(3, 40)
                deaths.append(f"before statement or commit {die_at}")
            told = killed(folder, chance.randrange(2**32), after, die_at)
            before, made = made, check(folder, agents, told or made)
            assert made >= before
    finally:
        over.write_text("")
        os.waitpid(reader, 0)
    assert not strange.exists(), strange.read_text()
    print(json.dumps({"deaths": deaths, "changes": made, "asked": int(asked.read_text())}))


if __name__ == "__main__":
    assert threading.active_count() == 1
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
