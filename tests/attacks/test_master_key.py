"""Rows of kept keys put into others' places; rotations killed, raced, and raced by new keys."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import delete
from tests.figures import Figure
from tests.train.killing import child

from assay.store import files, secrets
from assay.store.secrets import SecretError, read, read_masters, rotate_master
from assay.store.store import Store
from assay.store.tables import SecretRow

PLACES = [
    (project, provider, origin)
    for project in ("support", "sales", 'support", "far')
    for provider, origin in (
        ("far", "https://far.example.com:443"),
        ("near", "https://far.example.com:443"),
        ("home", "http://10.0.0.1:80"),
    )
]
KEYS = {place: f"key-{number}" for number, place in enumerate(PLACES)}


@pytest.fixture(autouse=True)
def _master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(secrets.VARIABLE, raising=False)
    monkeypatch.setenv(secrets.FILE_VARIABLE, str(tmp_path / "elsewhere" / "master.key"))


def filled(folder: Path, url: str | None = None) -> Store:
    store = Store(folder, url)
    for place, key in KEYS.items():
        keep(store, place, key)
    return store


def keep(store: Store, place: tuple[str, str, str], key: str) -> None:
    with store.session() as session:
        secrets.keep(session, *place, key)


def held(store: Store) -> dict[tuple[str, str, str], str | None]:
    return {place: read(store, *place) for place in PLACES}


def test_no_part_of_a_row_is_good_in_another(tmp_path: Path, figure: Figure) -> None:
    """Whoever may write to the database puts one row's ciphertext under every other one's name."""
    store = filled(tmp_path / "state")
    with store.session() as session:
        rows = {
            (row.project, row.provider, row.origin): row for row in session.query(SecretRow).all()
        }
    tried = 0
    columns: list[tuple[str, ...]] = [("sealed",), ("nonce",), ("sealed", "nonce")]
    columns.append(("sealed", "nonce", "origin"))
    for (to, target), (of, source) in itertools.permutations(rows.items(), 2):
        for moved in columns:
            changed = {name: getattr(source, name) for name in moved}
            with store.session() as session:
                row = session.get_one(SecretRow, to[:2])
                for name, value in changed.items():
                    setattr(row, name, value)
            origin = of[2] if "origin" in moved else to[2]
            with pytest.raises(SecretError):
                read(store, to[0], to[1], origin)
            tried += 1
        with store.session() as session:
            row = session.get_one(SecretRow, to[:2])
            for name in ("sealed", "nonce", "origin"):
                setattr(row, name, getattr(target, name))
    assert held(store) == KEYS
    figure("ciphertexts of kept keys put into other rows, refused", f"{tried} of {tried}")


def killed_at(store: Store, step: int, drop_old: bool) -> bool:
    """Rotate in a process that kills itself at a line of the code that does it; whether it did."""
    own = {secrets.__file__, files.__file__}

    def rotate() -> None:
        left = step

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in own:
                return None
            if event == "line":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        mine = Store(store.folder)
        sys.settrace(trace)
        rotate_master(mine, "ann", drop_old=drop_old)

    return child(rotate) == -signal.SIGKILL


@pytest.mark.parametrize("drop_old", [False, True])
@pytest.mark.parametrize(
    "stride", [23, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "every"]
)
def test_a_rotation_killed_at_any_line_loses_no_key(
    tmp_path: Path, figure: Figure, stride: int, drop_old: bool
) -> None:
    store = filled(tmp_path / "state")
    store.engine.dispose()
    kills = 0
    for step in itertools.count(0, stride):
        died = killed_at(store, step, drop_old)
        after = Store(store.folder)
        assert held(after) == KEYS
        if kills % 10 == 9 or not died:  # what it left behind stands in the way of nothing
            rotate_master(after, "ann", drop_old=True)
            assert held(after) == KEYS
            assert len(read_masters()) == 1
        after.engine.dispose()
        if not died:
            break
        kills += 1
    assert kills > 5
    kind = "that drops the old key" if drop_old else "that keeps the old key"
    figure(f"kills of a master key rotation {kind}, survived", f"{kills} of {kills}")


def both(*work: Callable[[], None]) -> list[BaseException]:
    """Do all of it in threads at once; what they raised."""
    raised: list[BaseException] = []

    def one(what: Callable[[], None]) -> None:
        try:
            what()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=one, args=(what,)) for what in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_two_rotations_at_once_lose_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two folders, which have one master key file: each wrote the list that it had read."""
    stores = [filled(tmp_path / name) for name in ("one", "two")]
    met = threading.Barrier(2)
    write = secrets._write

    def together(masters: list[secrets.MasterKey], **how: Any) -> None:
        with suppress(threading.BrokenBarrierError):  # the other one waits for this one
            met.wait(0.5)
        write(masters, **how)

    monkeypatch.setattr(secrets, "_write", together)
    assert not both(*(lambda store=store: rotate_master(store, "ann") for store in stores))  # type: ignore[misc]
    for store in stores:
        assert held(store) == KEYS


def test_a_key_kept_while_the_old_master_is_dropped_can_be_read(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sealed with the old master key, and written after the old one had been taken away."""
    store = filled(tmp_path / "state", database)
    sealed, dropped = threading.Event(), threading.Event()
    seal, write = secrets._sealed, secrets._write

    def slow_seal(master: secrets.MasterKey, *place: str) -> SecretRow:
        row = seal(master, *place)
        if place[-1] == "newer":
            sealed.set()
            dropped.wait(1.0)
        return row

    def slow_write(masters: list[secrets.MasterKey], **how: Any) -> None:
        if len(masters) == 1:
            write(masters, **how)
            dropped.set()
        else:
            write(masters, **how)

    monkeypatch.setattr(secrets, "_sealed", slow_seal)
    monkeypatch.setattr(secrets, "_write", slow_write)
    place = PLACES[0]

    def rotate() -> None:
        sealed.wait(5)
        rotate_master(store, "ann", drop_old=True)

    raised = both(lambda: keep(store, place, "newer"), rotate)
    assert all(isinstance(error, SecretError) for error in raised)
    now = held(store)
    assert now.pop(place) in ("newer", KEYS[place])
    assert now == {other: KEYS[other] for other in PLACES[1:]}
    keep(store, place, "newest")
    assert read(store, *place) == "newest"
    with store.session() as session:
        session.execute(delete(SecretRow))
    store.engine.dispose()
