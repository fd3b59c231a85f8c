"""Files and folders of the state that every server has the same: each fetches what it lacks.

    with store.lock(...):
        known = bring(store, "split", "the split")    # here now as it was published last
        ...
        publish(store, "split", instead_of=known)     # from now on all others bring this

Without a bucket nothing of this is done: what is in the folder is all there is. Which object lies
at a path is noted in `<state>/cache/origins`: a large folder is not hashed at each look.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from sqlalchemy.exc import IntegrityError

from assay.errors import NotFoundError, ObjectsAwayError, ObjectsError, StateError
from assay.store import archives, unnamed_objects
from assay.store.files import name_of_left, new_folder, one_at_a_time, write_atomic
from assay.store.store import Store
from assay.store.tables import SharedFileRow

ORIGINS = "origins"
"""In `<state>/cache`."""


class _GoneError(ObjectsError):
    """What was published is neither here nor in the bucket."""


def is_current(store: Store, path: str) -> bool:
    """Whether what is here is known to be what was published last, or nothing was."""
    row = archives.row_of(store, path)
    return row is None or _is_here(store, row)


def is_noted(store: Store, path: str) -> bool:
    """Whether what is here was published or brought, and not replaced since."""
    return (store.folder / path).exists() and _origin(store, path) is not None


def bring(store: Store, path: str, what: str) -> str | None:
    """Let a file or folder of the state be as it was published last; else it stays as it is.

    What lies there and was never published is put aside.

    Args:
        what: it is, for people.

    Returns:
        The object, to be replaced by `publish`; None: nothing was published.

    Raises:
        ObjectsError: it is not here, and the bucket is out of reach or does not have it.
    """
    row = archives.row_of(store, path)
    if row is not None and not _is_here(store, row):
        with _alone(store, path):
            row = _bring(store, path, what)
    return None if row is None else row.object


def _bring(store: Store, path: str, what: str) -> SharedFileRow | None:
    row = archives.row_of(store, path)
    if row is None or _is_here(store, row):  # another thread has brought it
        return row
    target = store.folder / path
    if target.exists() and archives.sha256_of_files(files_at(target)) == row.sha256:
        _note(store, path, row.object)
        return row
    try:
        with archives.unpacked(store, path) as (folder, row):
            if target.exists() and not is_noted(store, path):
                os.rename(target, name_of_left(target))
            forget_origin(store, path)
            _place(folder, target)
            _note(store, path, row.object)
    except NotFoundError:
        raise _GoneError(
            f"{what} is not in the bucket any more, and there is no copy on this server.",
            where=store.bucket,
            fix="Restore the objects from an earlier version of the bucket.",
        ) from None
    except ObjectsAwayError as error:
        raise ObjectsAwayError(
            f"{what} is in the bucket, which cannot be reached, and not on this server yet.",
            where=error.where,
            fix=error.fix,
        ) from None
    return row


def publish(store: Store, path: str, *, instead_of: str | None) -> None:
    """Let all other servers have what lies at a path of the state here.

    Args:
        instead_of: the object that `bring` returned.

    Raises:
        ObjectsError: the bucket is out of reach; the others have what was published before.
        StateError: another server has published it meanwhile.
    """
    archive = archives.pack(store, files_at(store.folder / path))
    try:
        with store.session() as session:
            gone = archives.name(session, path, archive)
            if gone != ([] if instead_of is None else [instead_of]):
                raise _published_meanwhile(path)
    except (IntegrityError, StateError):
        unnamed_objects.discard(store, archive.object)
        raise _published_meanwhile(path) from None
    _note(store, path, archive.object)
    unnamed_objects.remove_doomed(store, gone)


def share(store: Store, path: str) -> None:
    """Publish what lies at a path over whatever was, unless it is the same."""
    try:
        _share(store, path)
    except StateError:  # over what another server has published meanwhile as well
        _share(store, path)


@contextmanager
def replacing(store: Store, path: str) -> Iterator[None]:
    """Replace what lies at a path, and publish it at the end; who brings it meanwhile waits.

    Raises:
        ObjectsError: the bucket is out of reach; the others have what was published before.
    """
    with _alone(store, path):
        forget_origin(store, path)
        yield
        share(store, path)


def _alone(store: Store, path: str) -> AbstractContextManager[None]:
    return one_at_a_time(_note_of(store, path).with_suffix(".lock"), lambda: None)


def _share(store: Store, path: str) -> None:
    row = archives.row_of(store, path)
    if row is None or archives.sha256_of_files(files_at(store.folder / path)) != row.sha256:
        publish(store, path, instead_of=None if row is None else row.object)
    else:
        _note(store, path, row.object)


def bring_missing(store: Store, folder: str, what: str) -> None:
    """Bring all that was published below a folder; what was made here and is not published yet
    stays.

    Raises:
        ObjectsError: as `bring`.
    """
    for row in archives.rows_below(store, folder):
        if not (store.folder / row.path).exists() or _origin(store, row.path) not in (
            None,
            row.object,
        ):
            bring(store, row.path, what)


def forget_origin(store: Store, path: str) -> None:
    """Say, before it is replaced, that what lies at a path is to be looked at again."""
    _note_of(store, path).unlink(missing_ok=True)


def copy_to_folder(store: Store, rows: Sequence[SharedFileRow]) -> list[str]:
    """Put what was published into the folder, as its hash says; returns what is gone.

    Raises:
        ObjectsError: one is damaged, or the bucket is out of reach.
    """
    missing = []
    for row in rows:
        forget_origin(store, row.path)
        try:
            bring(store, row.path, f"{row.path} of the state")
        except _GoneError:
            if archives.row_of(store, row.path) is not None:
                missing.append(row.path)
    return missing


def files_at(place: Path) -> Mapping[str, Path]:
    """The files that are shared of a folder, by their names in it; or a file by its own."""
    if place.is_file():
        return {place.name: place}
    inside = (path for path in place.rglob("*") if path.is_file())
    return {
        path.relative_to(place).as_posix(): path
        for path in inside
        if not path.name.startswith(".") and path.name != "lock"
    }


def _place(unpacked: Path, target: Path) -> None:
    if (alone := unpacked / target.name).is_file() and len(list(unpacked.iterdir())) == 1:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(alone, target)
        return
    with new_folder(target) as draft:
        for path in unpacked.iterdir():
            os.replace(path, draft / path.name)


def _published_meanwhile(path: str) -> StateError:
    return StateError(f"{path} was changed by another server meanwhile.", fix="Try again.")


def _is_here(store: Store, row: SharedFileRow) -> bool:
    return (store.folder / row.path).exists() and _origin(store, row.path) == row.object


def _origin(store: Store, path: str) -> str | None:
    with suppress(FileNotFoundError):
        return _note_of(store, path).read_text()
    return None


def _note(store: Store, path: str, object: str) -> None:
    write_atomic(_note_of(store, path), object)


def _note_of(store: Store, path: str) -> Path:
    return store.folder / "cache" / ORIGINS / hashlib.sha256(path.encode()).hexdigest()[:32]
