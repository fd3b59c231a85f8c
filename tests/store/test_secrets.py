"""Keys at rest: bound to where they belong, and to a master key that lies elsewhere."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from sqlalchemy import update

from assay.store import secrets
from assay.store.audit import entries
from assay.store.secrets import SecretError, list_origins, read, read_masters, rotate_master
from assay.store.store import Store
from assay.store.tables import SecretRow

KEY = "canary-5b1d-never-in-clear"
HERE = ("support", "far", "https://far.example.com:443")


@pytest.fixture(autouse=True)
def _master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(secrets.VARIABLE, raising=False)
    monkeypatch.setenv(secrets.FILE_VARIABLE, str(tmp_path / "elsewhere" / "master.key"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def keep(store: Store, project: str, provider: str, origin: str, key: str) -> None:
    with store.session() as session:
        secrets.keep(session, project, provider, origin, key)


def forget(store: Store, project: str, provider: str) -> bool:
    with store.session() as session:
        return secrets.forget(session, project, provider)


def new_master() -> str:
    return base64.b64encode(secrets.secrets.token_bytes(32)).decode()


def test_a_key_comes_back_and_stands_nowhere_in_clear(store: Store, tmp_path: Path) -> None:
    assert read(store, *HERE) is None
    keep(store, *HERE, KEY)
    assert read(store, *HERE) == KEY
    assert list_origins(store, "support") == {"far": HERE[2]}
    assert list_origins(store, "other") == {}
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not [data for data in files if KEY.encode() in data]
    master = secrets.master_file()
    assert stat.S_IMODE(master.stat().st_mode) == 0o600
    assert not master.is_relative_to(store.folder)
    assert forget(store, "support", "far")
    assert not forget(store, "support", "far")
    assert read(store, *HERE) is None


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example.com:443", "http://far.example.com:80", "https://far.example.com:8443"],
)
def test_another_address_asks_for_the_key_again(store: Store, origin: str) -> None:
    keep(store, *HERE, KEY)
    with pytest.raises(SecretError, match="give the key again") as caught:
        read(store, "support", "far", origin)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [{"project": "other"}, {"provider": "near"}, {"origin": "https://evil.example.com:443"}],
)
def test_a_row_that_is_moved_cannot_be_decrypted(store: Store, changed: dict[str, str]) -> None:
    """Whoever can write to the database still cannot send the key elsewhere."""
    keep(store, *HERE, KEY)
    with store.session() as session:
        session.execute(update(SecretRow).values(**changed))
    place = {"project": "support", "provider": "far", "origin": HERE[2]} | changed
    with pytest.raises(SecretError, match="changed, or belongs to another store"):
        read(store, **place)


def test_a_changed_row_cannot_be_decrypted(store: Store) -> None:
    keep(store, *HERE, KEY)
    for column in ("nonce", "sealed"):
        with store.session() as session:
            row = session.get_one(SecretRow, HERE[:2])
            good = getattr(row, column)
            setattr(row, column, bytes([good[0] ^ 1]) + good[1:])
        with pytest.raises(SecretError, match="changed"):
            read(store, *HERE)
        with store.session() as session:
            setattr(session.get_one(SecretRow, HERE[:2]), column, good)
    assert read(store, *HERE) == KEY


def test_without_its_master_key_all_fails_closed(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keep(store, *HERE, KEY)
    monkeypatch.setenv(secrets.FILE_VARIABLE, str(tmp_path / "none.key"))
    with pytest.raises(SecretError, match="no master key"):
        read(store, *HERE)
    # None is made in its place: what is kept could never be read again.
    with pytest.raises(SecretError, match="another master key"):
        keep(store, "support", "near", HERE[2], KEY)
    assert not (tmp_path / "none.key").exists()
    monkeypatch.setenv(secrets.VARIABLE, new_master())
    for wrong in (lambda: read(store, *HERE), lambda: rotate_master(store, "ann")):
        with pytest.raises(SecretError, match="another master key"):
            wrong()
    with pytest.raises(SecretError, match="another master key"):
        keep(store, *HERE, "other")
    monkeypatch.setenv(secrets.VARIABLE, "c2hvcnQ=")
    with pytest.raises(SecretError, match="32 bytes") as caught:
        read(store, *HERE)
    assert "c2hvcnQ" not in str(caught.value)


def test_rotation_with_a_file(store: Store) -> None:
    keep(store, *HERE, KEY)
    keep(store, "support", "near", "http://10.0.0.1:80", "other-key")
    (first,) = read_masters()
    assert rotate_master(store, "ann") == 2
    newest, old = read_masters()
    [line] = entries(store, "support")
    assert (line.who, line.what, line.details) == ("ann", newest.id, {"keys": 2})
    assert old.id == first.id
    with store.session() as session:
        assert {row.master for row in session.query(SecretRow)} == {newest.id}
    assert read(store, *HERE) == KEY
    assert rotate_master(store, "ann", drop_old=True) == 2
    assert len(read_masters()) == 1
    assert read(store, *HERE) == KEY


def test_a_rotation_leaves_what_changes_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, *HERE, KEY)
    keep(store, "support", "gone", "https://gone.example.com:443", "revoked")
    write = secrets._write

    def meanwhile(masters: list[secrets.MasterKey], **how: bool) -> None:
        if len(masters) > 1:
            keep(store, *HERE, "newer-key")
            forget(store, "support", "gone")
        write(masters, **how)

    monkeypatch.setattr(secrets, "_write", meanwhile)
    with pytest.raises(SecretError, match="Rotate again"):
        rotate_master(store, "ann", drop_old=True)
    assert read(store, *HERE) == "newer-key"
    assert "gone" not in list_origins(store, "support")
    monkeypatch.setattr(secrets, "_write", write)
    rotate_master(store, "ann", drop_old=True)
    assert read(store, *HERE) == "newer-key"


def test_an_empty_master_key_file_is_a_sentence(store: Store) -> None:
    secrets.master_file().parent.mkdir()
    secrets.master_file().touch()
    with pytest.raises(SecretError, match="is empty"):
        keep(store, *HERE, KEY)


def test_rotation_with_a_variable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = new_master(), new_master()
    monkeypatch.setenv(secrets.VARIABLE, old)
    keep(store, *HERE, KEY)
    monkeypatch.setenv(secrets.VARIABLE, f"{new},{old}")
    assert read(store, *HERE) == KEY
    assert rotate_master(store, "ann") == 1
    monkeypatch.setenv(secrets.VARIABLE, new)
    assert read(store, *HERE) == KEY
    assert not secrets.master_file().exists()


def test_the_keyring(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    held: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(keyring, "get_password", lambda *place: held.get(place))
    monkeypatch.setattr(keyring, "set_password", lambda a, b, text: held.update({(a, b): text}))
    monkeypatch.setenv(secrets.VARIABLE, secrets.KEYRING)
    keep(store, *HERE, KEY)
    assert rotate_master(store, "ann") == 1
    assert read(store, *HERE) == KEY
    assert list(held) == [("assay", "master-key")]
    assert not secrets.master_file().exists()
    held.clear()
    with pytest.raises(SecretError, match="no master key to decrypt"):
        read(store, *HERE)

    def locked(*_: str) -> None:
        raise keyring.errors.KeyringLocked("locked")

    monkeypatch.setattr(keyring, "get_password", locked)
    with pytest.raises(SecretError, match="keyring cannot be used"):
        read(store, *HERE)


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "ключ", "x" * 5000])
def test_what_is_no_key_is_not_kept(store: Store, text: str) -> None:
    with pytest.raises(SecretError, match="key is not valid"):
        keep(store, *HERE, text)


def test_no_two_seals_are_alike_and_masters_do_not_print(store: Store) -> None:
    keep(store, *HERE, KEY)
    with store.session() as session:
        first = bytes(session.get_one(SecretRow, HERE[:2]).sealed)
    keep(store, *HERE, KEY)
    with store.session() as session:
        assert bytes(session.get_one(SecretRow, HERE[:2]).sealed) != first
    (master,) = read_masters()
    assert "bytes" not in repr(master)
