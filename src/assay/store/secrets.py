"""Keys of providers at rest: AES-256-GCM under a master key that lies elsewhere.

    keep(session, "support", "openai", "https://api.openai.com:443", key)
    key = read(store, "support", "openai", "https://api.openai.com:443")

A key is bound (as associated data) to its project, its provider and the provider's origin: moved
to another row, or asked for under another address, it cannot be decrypted. The master key is in
the variable `ASSAY_MASTER_KEY`, in the system's keyring (where that variable is `keyring`), or in a
file: `ASSAY_MASTER_KEY_FILE`, else one of the user's own. None of these is in the state folder, so
that a backup holds no key that could be read with it alone. There may be several, the newest
first: what is kept is encrypted with the newest, and read with the one it names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from platformdirs import user_config_path
from sqlalchemy import delete, false, select, text, update
from sqlalchemy.orm import Session

from assay.errors import AssayError, Step
from assay.store.audit import record
from assay.store.files import one_at_a_time, write_atomic
from assay.store.store import Store
from assay.store.tables import SecretRow

VARIABLE = "ASSAY_MASTER_KEY"
FILE_VARIABLE = "ASSAY_MASTER_KEY_FILE"
KEYRING = "keyring"
KEY = re.compile(r"[!-~]{1,4096}")
"""A provider's key: printable ASCII without spaces."""
_BYTES = 32
_NONCE = 12  # bytes, as GCM wants it; random, and a master key seals far fewer than 2^32 keys


class SecretError(AssayError):
    """A key cannot be kept or read; no message holds any part of one."""


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """A master key; `id` names it and gives nothing of it away."""

    bytes: bytes

    @property
    def id(self) -> str:
        """Names the key without telling it: 16 hexadecimal digits."""
        return hashlib.sha256(b"assay master key\0" + self.bytes).hexdigest()[:16]


def keep(session: Session, project: str, provider: str, origin: str, key: str) -> None:
    """Encrypt a key and keep it in the place of the one before.

    The first key of all makes the master key, where that lives in a file or the keyring.

    Raises:
        SecretError: this is no key; there is no master key, or another one than the kept keys
            were encrypted with.
    """
    if not KEY.fullmatch(key):
        raise SecretError(
            "the key is not valid: it must be one line of printable characters without spaces."
        )
    used = set(session.scalars(select(SecretRow.master).distinct()))
    masters = read_masters() or ([] if used else [_make()])
    if not masters or used - {master.id for master in masters}:
        raise _wrong_master()
    session.merge(_sealed(masters[0], project, provider, origin, key))
    session.flush()
    # From here on a rotation that drops the old ones waits for this transaction; before, it may
    # have dropped this one.
    if masters[0].id not in {master.id for master in read_masters()}:
        raise SecretError("the master key was changed at the same moment.", fix="Do it again.")


def read(store: Store, project: str, provider: str, origin: str) -> str | None:
    """The key that is kept for a provider; None where there is none.

    Raises:
        SecretError: it was given for another origin, the master key is not there or another one,
            or the row was changed.
    """
    with store.session() as session:
        row = session.get(SecretRow, (project, provider))
    if row is None:
        return None
    if row.origin != origin:
        raise SecretError(
            f"the key of {provider} was given for {row.origin}, but its address is now {origin}.",
            fix=f"If that is right, give the key again {Step.GIVE_KEY.of(provider)}.",
        )
    return _opened(row, {master.id: master for master in read_masters()})


def forget(session: Session, project: str, provider: str) -> bool:
    """Remove a key; False where there is none."""
    found = session.execute(
        delete(SecretRow)
        .where(SecretRow.project == project, SecretRow.provider == provider)
        .returning(SecretRow.provider)
    ).all()
    return bool(found)


def list_origins(store: Store, project: str) -> dict[str, str]:
    """Provider -> the origin that its key is good for."""
    with store.session() as session:
        rows = session.scalars(select(SecretRow).where(SecretRow.project == project))
        return {row.provider: row.origin for row in rows}


def rotate_master(store: Store, who: str, *, drop_old: bool = False) -> int:
    """Encrypt every key anew with the newest master key; returns how many there are.

    Where the master key lives in a file or the keyring, a new one is made first; in a variable, the
    new one is put there in front of the old one, with a comma between, by whoever sets it. The old
    one stays, for other folders may use it.

    Args:
        who: for the log of every project that has keys.
        drop_old: take the old ones out of the file or the keyring afterwards.

    Raises:
        SecretError: a key cannot be decrypted; then nothing has changed.
    """
    if _in_variable():
        return _rotate(store, who, drop_old=False)
    with _one_writer():
        return _rotate(store, who, drop_old=drop_old)


def _rotate(store: Store, who: str, *, drop_old: bool) -> int:
    masters = read_masters()
    known = {master.id: master for master in masters}
    with store.session() as session:
        rows = list(session.scalars(select(SecretRow)))
        keys = [_opened(row, known) for row in rows]
    if not masters:
        raise _no_master()
    newest = masters[0]
    if not _in_variable():
        newest = MasterKey(secrets.token_bytes(_BYTES))
        _write([newest, *masters])
    with store.session() as session:
        for row, key in zip(rows, keys, strict=True):
            _seal_anew(session, row, _sealed(newest, row.project, row.provider, row.origin, key))
        for project, count in Counter(row.project for row in rows).items():
            record(session, project, who, "provider.rotate_master", newest.id, {"keys": count})
    if drop_old:
        with store.session() as session:
            _hold_writers(session)
            others = session.scalar(select(SecretRow.provider).where(SecretRow.master != newest.id))
            if others is not None:
                raise SecretError(
                    f"the key of {others} was stored meanwhile under an old master key, which is "
                    "therefore not discarded.",
                    fix="Rotate again.",
                )
            _write([newest])
    return len(rows)


def read_masters() -> list[MasterKey]:
    """The master keys, the newest first; empty where there are none yet.

    Raises:
        SecretError: what is there is no master key, or cannot be read.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if given and given != KEYRING:
        return _parsed(given.replace(",", "\n"), f"the variable {VARIABLE}")
    if given == KEYRING:
        return _parsed(_use_keyring(), "the keyring")
    path = master_file()
    try:
        return _parsed(path.read_text("ascii"), str(path))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError):
        raise SecretError("the master key cannot be read.", where=str(path)) from None


def master_file() -> Path:
    """Where the master key is, unless the variable says otherwise."""
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else user_config_path("assay") / "master.key"


def _sealed(master: MasterKey, project: str, provider: str, origin: str, key: str) -> SecretRow:
    nonce = secrets.token_bytes(_NONCE)
    sealed = AESGCM(master.bytes).encrypt(nonce, key.encode(), _bound(project, provider, origin))
    return SecretRow(
        project=project,
        provider=provider,
        origin=origin,
        master=master.id,
        nonce=nonce,
        sealed=sealed,
    )


def _seal_anew(session: Session, before: SecretRow, after: SecretRow) -> None:
    """Unless somebody has changed or removed the key since it was read."""
    same = (
        (SecretRow.project == before.project)
        & (SecretRow.provider == before.provider)
        & (SecretRow.nonce == before.nonce)
    )
    sealed = {"master": after.master, "nonce": after.nonce, "sealed": after.sealed}
    session.execute(update(SecretRow).where(same).values(sealed))


def _opened(row: SecretRow, masters: dict[str, MasterKey]) -> str:
    if not masters:
        raise _no_master()
    if row.master not in masters:
        raise _wrong_master()
    bound = _bound(row.project, row.provider, row.origin)
    try:
        return AESGCM(masters[row.master].bytes).decrypt(row.nonce, row.sealed, bound).decode()
    except (InvalidTag, ValueError):
        raise SecretError(
            f"the stored key of {row.provider} was changed, or belongs to another store.",
            fix=f"Give it again {Step.GIVE_KEY.of(row.provider)}.",
        ) from None


def _bound(project: str, provider: str, origin: str) -> bytes:
    return json.dumps(["assay provider key", 1, project, provider, origin]).encode()


def _parsed(text: str, place: str) -> list[MasterKey]:
    masters = []
    for line in text.split():
        try:
            raw = base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != _BYTES:
            raise SecretError(
                "the master key is not valid: it must be 32 bytes in base64.",
                where=place,
                fix="Create one with `openssl rand -base64 32`.",
            )
        masters.append(MasterKey(raw))
    return masters


def _make() -> MasterKey:
    if _in_variable():
        raise _no_master()
    with _one_writer():
        masters = read_masters()  # another process may have made one at the same moment
        if not masters:
            if not _in_keyring() and master_file().exists():
                raise SecretError(
                    "the master key file is empty.",
                    where=str(master_file()),
                    fix="Delete the file, or write a key to it (`openssl rand -base64 32`).",
                )
            masters = [MasterKey(secrets.token_bytes(_BYTES))]
            _write(masters)
    return masters[0]


def _write(masters: list[MasterKey]) -> None:
    lines = "".join(base64.b64encode(master.bytes).decode() + "\n" for master in masters)
    if _in_keyring():
        _use_keyring(lines)
        return
    try:
        write_atomic(master_file(), lines, private=True)
    except OSError as error:
        raise _unwritable(error) from None


@contextmanager
def _one_writer() -> Iterator[None]:
    """One process at a time reads the master keys and writes them back, of all folders' processes.

    Two rotations at once would each write the list that they had read, without the other's newest.
    """
    file = master_file()
    with ExitStack() as held:
        try:
            held.enter_context(one_at_a_time(file.with_name(f"{file.name}.lock"), lambda: None))
        except OSError as error:
            raise _unwritable(error) from None
        yield


def _hold_writers(session: Session) -> None:
    """Whoever has changed a key is waited for; who wants to waits for this transaction's end."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(update(SecretRow).where(false()).values(master=""))
    else:
        session.execute(text("LOCK TABLE secrets IN SHARE ROW EXCLUSIVE MODE"))


def _unwritable(error: OSError) -> SecretError:
    return SecretError(
        f"the master key cannot be written ({error.strerror}).",
        where=str(master_file()),
        fix=f"Set {FILE_VARIABLE} to another file, or {VARIABLE} to a key.",
    )


def _in_keyring() -> bool:
    return os.environ.get(VARIABLE, "").strip() == KEYRING


def _in_variable() -> bool:
    return os.environ.get(VARIABLE, "").strip() not in ("", KEYRING)


def _use_keyring(text: str | None = None) -> str:
    """What the system's keyring holds of ours; a text is put there first."""
    try:
        import keyring
    except ImportError:
        raise SecretError(
            f"{VARIABLE} is set to keyring, but keyring is not installed.",
            fix="pip install 'assay[keyring]', or use a file.",
        ) from None
    place = "assay", "master-key"
    try:
        if text is not None:
            keyring.set_password(*place, text)
        return keyring.get_password(*place) or ""
    except keyring.errors.KeyringError as error:
        raise SecretError(f"the keyring cannot be used ({error}).") from None


def _no_master() -> SecretError:
    return SecretError(
        "there is no master key to decrypt the stored keys.",
        fix=f"Set {VARIABLE} or {FILE_VARIABLE} as it was when the keys were added.",
    )


def _wrong_master() -> SecretError:
    return SecretError(
        "the stored keys were encrypted with another master key.",
        fix=f"Set {VARIABLE} or {FILE_VARIABLE} as it was when they were added, or remove the keys "
        "(`assay providers remove`) and add them again.",
    )
