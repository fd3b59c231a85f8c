"""A full disk at every write: an error is a sentence, the state stays whole, and the same command
goes through once there is room.

Each piece of work is tried on a small file system of its own with ever more room left on it, from
nothing until it goes through. Skipped where nothing can be mounted (Linux, as root).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import command
from tests.attacks import killing
from tests.attacks.killing import Place
from tests.evaluate.scripted import ScriptedEngine, request
from tests.figures import Figure
from tests.small import ANIMALS, write_csv

from assay import project
from assay.accounts.keys import create_key, free_name
from assay.errors import AssayError, StateError
from assay.evaluate.run import run
from assay.project.start.init import Choices
from assay.store import blobs, uploads
from assay.store.store import Store

MIB = 2**20
ROOMS = [0, 4096, 16384, 65536, 3 * 65536, MIB // 2, MIB, 2 * MIB, 4 * MIB, 16 * MIB, 48 * MIB]
FINE = [*range(0, MIB, 4096), *ROOMS[7:]]


@dataclass(frozen=True)
class Disk:
    """A file system of its own."""

    folder: Path
    size: int = 64 * MIB

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def leave(self, room: int) -> None:
        """Fill it up to so many bytes."""
        with self._ballast.open("ab", buffering=0) as file:
            with suppress(OSError):
                while file.write(b"\0" * MIB):
                    pass
            with suppress(OSError):
                while file.write(b"\0" * 4096):
                    pass
            file.truncate(max(0, file.tell() - room))

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = Disk(folder)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={made.size}", "tmpfs", folder]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield made
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _store(place: Place) -> None:
    place.store().set("word", "kept")


def _set(place: Place) -> None:
    place.store().set("word", "changed" * 1000)


def _is_set(place: Place) -> bool:
    value = place.store().setting("word")
    assert value in ("kept", "changed" * 1000)
    return value != "kept"


BLOB = b"blob " * 60_000


def _put(place: Place) -> None:
    blobs.put(place.store(), BLOB)


def _has(place: Place) -> bool:
    kept = [path for path in (place.state / "blobs").rglob("*") if path.is_file()]
    assert len(kept) <= 1
    return bool(kept) and blobs.get(place.store(), kept[0].name) == BLOB


def _upload(place: Place) -> None:
    store = place.store()
    if store.setting("upload") is None:
        store.set("upload", uploads.create(store, "p", "a", "fine-tune", len(BLOB)).id)
    id = str(store.setting("upload"))
    with suppress(StateError):  # it is complete
        part = uploads.add_part(store, "p", id, [BLOB])
        uploads.complete(store, "p", id, [part.id])


def _uploaded(place: Place) -> bool:
    store = place.store()
    id = store.setting("upload")
    if id is None or uploads.find(store, "p", id).status != "completed":
        return False
    sizes = [path.stat().st_size for path in (place.state / "files").rglob("*") if path.is_file()]
    assert sizes == [len(BLOB)], sizes
    return True


def _key(place: Place) -> None:
    store = place.store()
    if store.setting("key") is None:
        key, _ = create_key(store, "p", free_name(store, "p", "k"), ["chat"])
        store.set("key", key.id)


def _has_key(place: Place) -> bool:
    return place.store().setting("key") is not None


def _answers(place: Place) -> None:
    requests = [request(f"word {n} " * 20) for n in range(400)]
    run(requests, ScriptedEngine(), agent_id="a", folder=place.folder / "runs")


def _answered(place: Place) -> bool:
    engine = ScriptedEngine()
    requests = [request(f"word {n} " * 20) for n in range(400)]
    if len(list((place.folder / "runs").rglob("0*.json"))) < 7:
        return False
    run(requests, engine, agent_id="a", folder=place.folder / "runs")
    return engine.calls == []


def _project(place: Place) -> None:
    data = write_csv(place.folder / "pets.csv", 400)
    drafted = project.draft("pets", Choices(data=data))
    project.create(drafted, folder=place.folder / "pets")


def _split(place: Place) -> None:
    project.open(place.folder / "pets").split()


def _is_split(place: Place) -> bool:
    folder = place.folder / "pets" / ".assay" / "split"
    if not folder.exists():
        return False
    rows = (folder / "train.jsonl").read_text().splitlines()
    assert {json.loads(row)["messages"][-1]["content"] for row in rows} == set(ANIMALS)
    return True


@dataclass(frozen=True)
class Command:
    """A piece of work that `killing` has too, or one of this file."""

    prepare: Callable[[Place], None]
    act: Callable[[Place], None]
    check: Callable[[Place], bool]


OURS = {
    "set": Command(_store, _set, _is_set),
    "put": Command(_store, _put, _has),
    "upload": Command(_store, _upload, _uploaded),
    "key": Command(_store, _key, _has_key),
    "answers": Command(lambda place: None, _answers, _answered),
    "split": Command(_project, _split, _is_split),
}
THEIRS = ("ingest", "remove", "promote", "restore", "migrate", "migrate 0001")
WORKS = {**OURS, **{name: killing.WORKS[name] for name in THEIRS}}


def attack(disk: Disk, name: str, rooms: list[int]) -> int:
    """Tries `name` with more and more room; how often the disk was full."""
    work = WORKS[name]
    place = Place(disk.folder / "now")
    place.folder.mkdir()
    work.prepare(place)
    refused = 0
    for room in rooms:
        disk.leave(room)
        try:
            work.act(place)
        except AssayError:
            refused += 1
        else:
            break
        finally:
            disk.clear()
        if not name.startswith("migrate"):  # a look would migrate it
            work.check(place)
    work.act(place)
    assert work.check(place)
    return refused


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_a_full_disk_is_a_sentence_and_nothing_is_lost(disk: Disk, name: str) -> None:
    assert attack(disk, name, ROOMS) > 0


@pytest.mark.soak
def test_a_disk_that_is_full_ever_later(disk: Disk, figure: Figure) -> None:
    counts: dict[str, int] = {}
    for name in WORKS:
        counts[name] = attack(disk, name, FINE)
        subprocess.run(["rm", "-rf", disk.folder / "now"], check=True)
    figure("writes to a full disk", f"{sum(counts.values())}: {json.dumps(counts)[1:-1]}")


@pytest.mark.slow
def test_a_command_on_a_full_disk_ends_with_a_sentence(disk: Disk) -> None:
    place = Place(disk.folder)
    _project(place)
    disk.leave(0)
    for words in (
        ["data", "split"],
        ["keys", "create", "a"],
        ["knowledge", "add", "manuals", "assay.yaml"],
    ):
        done = command.run(*words, cwd=disk.folder / "pets")
        assert "full" in command.sentence(done, 1), words


def test_the_state_can_be_read_on_a_full_disk(disk: Disk) -> None:
    store = Store(disk.folder / ".assay")
    store.set("word", "kept")
    disk.leave(0)
    assert store.setting("word") == "kept"
