"""Dies with SIGKILL before a step of its work, so that what is left can be looked at.

    python -m tests.attacks.killing FOLDER '{"ingest": 3, "migrate 0001": 0}' [SOCKET]

Does pieces of work (`WORKS`: ingest, remove, promote, canary, roll back, restore, migrate) in child
processes, each of which dies before another step: a statement or a commit, a call by which a file
is opened to be written, renamed, removed or brought to the disk, or one by which LanceDB, whose
writes Python does not see, makes a table, adds to it or indexes it. So many of the steps are tried,
evenly spread; 0 is all. After every death the state must be whole, as it was before or as it
is after, and the same command must go through. SOCKET: PostgreSQL's folder, in place of SQLite.
Prints how many kills each has survived, as JSON.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, event, select, text
from tests.knowledge.wordy import Wordy
from tests.release.shelf import PROJECT, shelf

from assay.errors import NotFoundError, UsageError
from assay.knowledge import build, table
from assay.knowledge.base import KnowledgeBase
from assay.release import changes, releases
from assay.store import backup as backups
from assay.store import blobs
from assay.store.store import Store
from assay.store.tables import AuditRow, ReleaseRow, Table

CANARY = "xylophonquartz"
STEPS = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"})
UNSEEN = ((table.Tables, "create"), (build._Writer, "add"), (build, "index"))
"""What LanceDB writes in, as `assay.knowledge.build` calls it."""
FOR_LANCEDB = ("lance_namespace_urllib3_client", "pandas", "pyarrow.dataset")
"""What it imports for seconds. Itself it starts a thread, so that it must come after a fork."""
DIED = -signal.SIGKILL


@dataclass(frozen=True)
class Place:
    """Where a piece of work is done.

    Attributes:
        url: of the database; None is SQLite in the folder.
    """

    folder: Path
    url: str | None = None

    @property
    def state(self) -> Path:
        return self.folder / ".assay"

    def store(self) -> Store:
        return Store(self.state, self.url)

    def base(self, encoder: Wordy | None = None) -> KnowledgeBase:
        known = encoder or Wordy()
        return KnowledgeBase(self.store(), "shop", "manuals", embedders=lambda _: known)


@dataclass(frozen=True)
class Work:
    """A piece of work.

    Attributes:
        prepare: makes what is there before.
        act: what dies; whoever is told that it is done already may pass.
        check: what must hold after any death; whether the work is done.
        after: what must hold once the same command went through.
    """

    prepare: Callable[[Place], None]
    act: Callable[[Place], None]
    check: Callable[[Place], bool]
    after: Callable[[Place], None] = lambda place: None


def _documents(place: Place) -> None:
    docs = place.folder / "docs"
    docs.mkdir(parents=True)
    for number in range(3):
        (docs / f"{number}.txt").write_text(f"Document {number} of the first edition. " * 5)
    (docs / "secret.txt").write_text(f"The {CANARY} is kept here. " * 5)
    place.base().add([docs])


def _changed_documents(place: Place) -> None:
    _documents(place)
    docs = place.folder / "docs"
    (docs / "0.txt").write_text("Document 0 of the second edition. " * 5)
    (docs / "3.txt").write_text("Document 3 of the second edition. " * 5)


def _add(place: Place) -> None:
    encoder = Wordy()
    encoder.at_once = 1  # many steps
    place.base(encoder).add([place.folder / "docs"])


def _whole_index(place: Place) -> list[str]:
    """The names of the documents, each of which a search must find."""
    base = place.base()
    found = base.check()
    assert found.damage == (), found.damage
    names = [Path(document.path).name for document in base.documents()]
    for document in base.documents():
        [passages] = base.search(
            [f"Document {Path(document.path).stem} {CANARY}"], k=9, mode="bm25"
        )
        assert document.path in [passage.document for passage in passages]
    return names


def _added(place: Place) -> bool:
    names = _whole_index(place)
    assert names in (
        ["0.txt", "1.txt", "2.txt", "secret.txt"],
        ["0.txt", "1.txt", "2.txt", "3.txt", "secret.txt"],
    )
    [passages] = place.base().search(["edition"], k=20, mode="bm25")
    edition = "second" if "3.txt" in names else "first"
    assert all(edition in p.text for p in passages if p.document.endswith("/0.txt")), passages
    return "3.txt" in names


def _all_added(place: Place) -> None:
    assert _added(place)
    assert place.base().check().leftovers == 0


def _remove(place: Place) -> None:
    with suppress(NotFoundError):  # it has been removed
        place.base().remove([str(place.folder / "docs" / "secret.txt")])


def _removed(place: Place) -> bool:
    names = _whole_index(place)
    assert names[:3] == ["0.txt", "1.txt", "2.txt"]
    return "secret.txt" not in names


def _nowhere(place: Place) -> None:
    from tests.invariants.test_knowledge import traces

    assert _removed(place)
    found = list(traces(place.folder))
    assert found == [], found


def _shelf(place: Place) -> None:
    store = place.store()
    shelf(place.state, store=store)
    changes.promote(store, PROJECT, "tickets", "tuned@1", who="test", force="a test")


def _promote(place: Place) -> None:
    with suppress(releases.ReleaseError):  # it is at that already
        changes.promote(place.store(), PROJECT, "tickets", "tuned@2", who="test", force="a test")


def _labels(place: Place) -> list[str]:
    """Whom the release was pointed at, each change with its line of the log; the last answers."""
    store = place.store()
    with store.session() as session:
        rows = session.scalars(select(ReleaseRow).order_by(ReleaseRow.number)).all()
        log = session.scalars(select(AuditRow).order_by(AuditRow.key)).all()
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert [f"release.{row.action}" for row in rows] == [line.action for line in log]
    newest = rows[-1]
    assert (newest.canary is not None) == (newest.share > 0)
    served = {releases.resolve(store, PROJECT, "tickets", f"user {n}") for n in range(50)}
    assert served == {newest.agent, newest.canary} - {None}
    return [row.label for row in rows]


def _promoted(place: Place) -> bool:
    labels = _labels(place)
    assert labels in (["tuned@1"], ["tuned@1", "tuned@2"])
    return len(labels) == 2


def _is_promoted(place: Place) -> None:
    assert _promoted(place)


def _canary(place: Place) -> None:
    store = place.store()
    if releases.current(store, PROJECT, "tickets").canary is None:
        changes.canary(store, PROJECT, "tickets", 0.5, "tuned@2", who="test", force="a test")


def _has_canary(place: Place) -> bool:
    labels = _labels(place)
    assert labels in (["tuned@1"], ["tuned@1", "tuned@1"])
    return len(labels) == 2


def _promoted_shelf(place: Place) -> None:
    _shelf(place)
    _promote(place)


def _roll_back(place: Place) -> None:
    with suppress(releases.ReleaseError):  # there is nothing more to go back to
        changes.rollback(place.store(), PROJECT, "tickets", who="test")


def _rolled_back(place: Place) -> bool:
    labels = _labels(place)
    assert labels in (["tuned@1", "tuned@2"], ["tuned@1", "tuned@2", "tuned@1"])
    return len(labels) == 3


def _backup(place: Place) -> None:
    store = place.store()
    store.set("word", "kept")
    for number in range(3):
        blobs.put(store, b"blob %d" % number)
    backups.backup(store, place.folder / "monday.tar")
    store.engine.dispose()
    shutil.rmtree(place.state)


def _restore(place: Place) -> None:
    try:
        backups.restore(place.folder / "monday.tar", place.state)
    except UsageError:  # there is state already: it must be all of it
        assert _restored(place)


def _restored(place: Place) -> bool:
    if not place.state.exists():
        return False
    store = place.store()
    assert store.setting("word") == "kept"
    names = [path.name for path in (place.state / "blobs").rglob("*") if path.is_file()]
    assert len(names) == 3
    assert all(blobs.get(store, name) for name in names)
    return True


def _all_restored(place: Place) -> None:
    assert _restored(place)
    left = {path.name for path in place.folder.iterdir()} - {".assay", "monday.tar", ".assay.lock"}
    assert not left, left


def _at(revision: str | None) -> Callable[[Place], None]:
    """A database as an earlier version of Assay left it; None: there is none."""

    def prepare(place: Place) -> None:
        place.state.mkdir(parents=True)
        if revision is None:
            return
        engine = create_engine(place.url or f"sqlite:///{place.state / 'assay.db'}")
        config = Config()
        config.set_main_option("script_location", "assay.store:migrations")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.execute(text("INSERT INTO settings (name, value) VALUES ('word', 'kept')"))
        engine.dispose()

    return prepare


def _migrated(revision: str | None) -> Callable[[Place], bool]:
    def check(place: Place) -> bool:
        """Opening it is the work, done again."""
        store = place.store()
        with store.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
        assert store.setting("word") == (None if revision is None else "kept")
        return True

    return check


def _migration(revision: str | None) -> Work:
    return Work(_at(revision), lambda place: place.store() and None, _migrated(revision))


WORKS = {
    "ingest": Work(_changed_documents, _add, _added, _all_added),
    "remove": Work(_documents, _remove, _removed, _nowhere),
    "promote": Work(_shelf, _promote, _promoted, _is_promoted),
    "canary": Work(_shelf, _canary, _has_canary),
    "roll back": Work(_promoted_shelf, _roll_back, _rolled_back),
    "restore": Work(_backup, _restore, _restored, _all_restored),
    "migrate": _migration(None),
    "migrate 0001": _migration("0001"),
    "migrate 0007": _migration("0007"),
    "migrate 0012": _migration("0012"),
}


def count_steps(folder: Path, die_at: int | None) -> Callable[[], int]:
    """Let this process die before step `die_at` (from 0); what is returned says how many it did."""
    done = 0

    def step(*_: object) -> None:
        nonlocal done
        if done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    def hear(name: str, given: tuple[Any, ...]) -> None:
        if name == "open":
            path, mode, flags = given
            writes = set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)
            if writes and str(path).startswith(str(folder)):
                step()
        elif name in STEPS and (str(folder) in str(given[0]) or "/" not in str(given[0])):
            step()  # shutil.rmtree removes names below an open folder

    def fsync(handle: int) -> None:
        step()
        plain(handle)

    plain, os.fsync = os.fsync, fsync  # type: ignore[assignment]
    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)
    for owner, name in UNSEEN:
        setattr(owner, name, _after(step, getattr(owner, name)))
    sys.addaudithook(hear)
    return lambda: done


def _after(step: Callable[[], None], call: Callable[..., Any]) -> Callable[..., Any]:
    def stepping(*given: Any, **named: Any) -> Any:
        step()
        return call(*given, **named)

    return stepping


def child(do: Callable[[], object], errors: Path) -> int:
    """Do it in a process of its own; how it ended, and a SystemExit where it failed."""
    number = os.fork()
    if number == 0:
        code = 1
        try:
            do()
            code = 0
        except BaseException:
            errors.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    if code not in (0, DIED):
        raise SystemExit(errors.read_text())
    return code


class Copies:
    """Places that are as one was when it was prepared."""

    def __init__(self, folder: Path, socket: str | None) -> None:
        self._folder, self._socket = folder, socket
        self._numbers = itertools.count()
        self._name = f"kills_{os.getpid()}_{folder.name}"

    def first(self) -> Place:
        """To be prepared, where the others will be: documents are known by their paths."""
        place = Place(self._folder / "now", self._url(self._name))
        place.folder.mkdir(parents=True)
        self._statement(f"CREATE DATABASE {self._name}")
        return place

    def another(self) -> Place:
        """As it was prepared."""
        number = next(self._numbers)
        now = self._folder / "now"
        shutil.rmtree(now, ignore_errors=True)
        shutil.copytree(self._folder / "kept", now, symlinks=True)
        name = f"{self._name}_{number}"
        if number:
            self._statement(f"DROP DATABASE {self._name}_{number - 1} WITH (FORCE)")
        self._statement(f"CREATE DATABASE {name} TEMPLATE {self._name}")
        return Place(now, self._url(name))

    def keep(self, place: Place) -> None:
        os.rename(place.folder, self._folder / "kept")

    def _url(self, name: str) -> str | None:
        if self._socket is None:
            return None
        return f"postgresql+psycopg://assay@/{name}?host={self._socket}"

    def _statement(self, words: str) -> None:
        if self._socket is None:
            return
        engine = create_engine(str(self._url("postgres")), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(words))
        engine.dispose()


def kill(work: Work, folder: Path, most: int, socket: str | None) -> int:
    """Let it die at so many steps, looking at what is left after each; returns how many."""
    errors = folder / "errors"
    copies = Copies(folder, socket)
    first = copies.first()
    child(lambda: work.prepare(first), errors)
    copies.keep(first)
    counted = folder / "counted"

    def whole(place: Place) -> None:
        steps = count_steps(place.folder, None)
        work.act(place)
        counted.write_text(str(steps()))
        assert work.check(place)
        work.after(place)

    place = copies.another()
    assert child(lambda: whole(place), errors) == 0
    steps = int(counted.read_text())
    points = range(steps) if not most or steps <= most else [i * steps // most for i in range(most)]
    for point in points:
        place = copies.another()

        def dies(place: Place = place, point: int = point) -> None:
            count_steps(place.folder, point)
            work.act(place)

        def looks(place: Place = place) -> None:
            work.check(place)
            work.act(place)
            assert work.check(place)
            work.after(place)

        if child(dies, errors) != DIED:
            raise SystemExit(f"the child ended before step {point} of {steps}")
        try:
            child(looks, errors)
        except SystemExit as error:
            raise SystemExit(f"after a death before step {point} of {steps}:\n{error}") from None
    return len(points)


def main(folder: Path, works: dict[str, int], socket: str | None = None) -> None:
    """Kill each piece of work so many times."""
    if {"ingest", "remove"} & set(works):
        for name in FOR_LANCEDB:
            with suppress(ImportError):  # not every version of it needs each
                importlib.import_module(name)
    found = {
        name: kill(WORKS[name], folder / f"work_{number}", most, socket)
        for number, (name, most) in enumerate(works.items())
    }
    print(json.dumps(found))


def run() -> None:
    """As the command line says."""
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), *sys.argv[3:])


if __name__ == "__main__":
    run()
