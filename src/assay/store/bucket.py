"""Objects in a bucket of S3 or of a server that speaks its protocol.

Bytes are kept in pieces of at most `PIECE`, each an object of its own whose name ends in where it
begins: so a large file takes little memory, and each piece is written by a conditional request,
which S3 offers for one request only. A file whose last piece is missing is never read, for a row
names it once it is whole.

Credentials are those of the environment (AWS_ACCESS_KEY_ID and so on) or of the machine's role.
What a server says is not repeated in errors, except for its error code.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from assay.errors import NotFoundError, ObjectsAwayError, ObjectsError
from assay.store.objects import damaged, taken

if TYPE_CHECKING:
    from obstore.store import S3Store

PIECE = 16 * 2**20
LARGEST_PIECE = 64 * 2**20
"""That is read, whatever later versions write."""
CONNECT_S, REQUEST_S, RETRY_S = 5, 120, 30
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_OWNER = "assay-folder"
_CODE = re.compile(r"<Code>([A-Za-z.]{1,60})</Code>")


class Bucket:
    """A bucket, or what is below a prefix in it; see `assay.store.objects.Objects`.

    Args:
        url: s3://NAME or s3://NAME/PREFIX.

    Raises:
        ObjectsError: obstore is missing, or the endpoint is neither https nor loopback.
    """

    def __init__(self, url: str) -> None:
        self.address = url
        try:
            from obstore.store import S3Store
        except ImportError as error:
            raise ObjectsError(
                f"object storage needs obstore, which cannot be imported ({error}).",
                fix="pip install 'assay[objects]'",
            ) from None
        parts = urlsplit(url)
        variable = next((name for name in _ENDPOINTS if os.environ.get(name)), None)
        is_plain = variable is not None and _is_plain(variable)
        with self._told():
            self._store: S3Store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                endpoint=None if variable is None else os.environ[variable],
                client_options={
                    "allow_http": is_plain,
                    "connect_timeout": timedelta(seconds=CONNECT_S),
                    "timeout": timedelta(seconds=REQUEST_S),
                },
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=RETRY_S)},
            )

    def create(self, name: str, draft: Path) -> None:
        """As `Objects` says, piece by piece."""
        with draft.open("rb") as file:
            at = 0
            while (data := file.read(PIECE)) or not at:
                key = f"{name}/{at}"
                # Refused as well where an answer was lost and the request sent again.
                if not self._create(key, data) and self._get(key, len(data)) != data:
                    raise taken(name, self.address)
                at += len(data)
                if not data:
                    break

    def read(self, name: str, size: int) -> Iterator[bytes]:
        """As `Objects` says, piece by piece."""
        at = 0
        while at < size or not at:
            data = self._get(f"{name}/{at}", min(size - at, LARGEST_PIECE))
            if data is None and not at:
                raise NotFoundError(f"there is no object {name}.")  # clients are told, too
            if data is None or (size and not data):
                raise damaged(name, self.address)
            at += len(data)
            yield data
            if not size:
                break

    def remove(self, names: Sequence[str]) -> None:
        """As `Objects` says, with all pieces and all that is below."""
        import obstore

        with self._told():
            for name in names:
                for listed in obstore.list(self._store, name):
                    obstore.delete(self._store, [one["path"] for one in listed])

    def probe(self) -> None:
        """See that it can be used, and that what is there is never replaced.

        Raises:
            ObjectsError: it cannot, or it is: two servers would lose each other's files.
        """
        name = f"probe/{secrets.token_hex(12)}"
        try:
            self._create(name, b"first")
            if self._create(name, b"second") or self._get(name, 10) != b"first":
                raise ObjectsError(
                    "this server replaces objects that a conditional request (If-None-Match) must "
                    "leave, so files would be lost.",
                    where=self.address,
                    fix="Use a server that honours conditional writes, such as Amazon S3 or a "
                    "current release of MinIO.",
                )
        finally:
            self._delete(name)

    def owner(self) -> str | None:
        """The random name of the folder whose files are here; None: of none."""
        found = self._get(_OWNER, 100)
        return None if found is None else found.decode("ascii", "replace")

    def claim(self, folder: str) -> None:
        """Let a folder have it, unless one has it already."""
        self._create(_OWNER, folder.encode())

    def _create(self, key: str, data: bytes) -> bool:
        """False: something is there, which stays."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._told():
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def _get(self, key: str, most: int) -> bytes | None:
        """None: there is no such object.

        Raises:
            ObjectsError: it is larger than `most`.
        """
        import obstore

        with self._told():
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError:
                return None
            if found.meta["size"] > most:  # before it is in memory
                raise damaged(key, self.address)
            return bytes(found.bytes())

    def _delete(self, key: str) -> None:
        import obstore

        with self._told():
            obstore.delete(self._store, key)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raises an ObjectsError in the place of a library's error, without what a server says."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            code = _CODE.search(str(error))
            what = f" ({code[1]})" if code else ""
            kind = ObjectsError
            if isinstance(error, FileNotFoundError):
                why, fix = "there is no such bucket", "Create it."
            elif isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
                why = "access was refused"
                fix = (
                    "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION; the key needs "
                    "the rights to get, put, list and delete objects."
                )
            else:
                kind, why = ObjectsAwayError, "it could not be reached, or failed"
                fix = (
                    "Check AWS_ENDPOINT_URL, AWS_REGION and the credentials in the environment, "
                    "and that the server runs; then try again."
                )
            raise kind(
                f"the object storage cannot be used: {why}{what}.", where=self.address, fix=fix
            ) from None


def _is_plain(variable: str) -> bool:
    """Whether the endpoint in a variable is plain http, which may only be loopback."""
    try:
        parts = urlsplit(os.environ[variable])
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme == "https" and host and parts.username is None:
        return False
    if parts.scheme == "http" and _is_here(host) and parts.username is None:
        return True
    raise ObjectsError(
        f"the variable {variable} must be an address with https, or http on this machine, without "
        "a password.",
        fix="Give the server a certificate, or reach it through a local TLS proxy.",
    )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
