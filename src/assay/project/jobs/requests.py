"""What requests for long work have in common: how one is refused, and the file that it names."""

from __future__ import annotations

from assay.accounts.keys import Caller
from assay.errors import NotFoundError, UsageError
from assay.project.workspace import Workspace
from assay.store import stored_files
from assay.store.audit import audit
from assay.store.stored_files import StoredFile

ADMIN, TRACES = "admin", "traces"
"""Scopes that read copies of what was kept."""


class RefusedError(UsageError):
    """Work that cannot be done here as it was asked for.

    Attributes:
        param: the field of the request that is to blame.
        code: what programs look at.
    """

    def __init__(self, what: str, param: str, code: str, fix: str | None = None) -> None:
        super().__init__(what, fix=fix)
        self.param, self.code = param, code


def check_readable(
    workspace: Workspace, caller: Caller, scope: str | None, action: str, id: str
) -> None:
    """See that a caller may read copies of what was kept. That an admin reads those of what another
    key has stored is a line of the audit log.

    Args:
        scope: that reads them, see `Caller.may_read`.
        action, id: of that line: what is read.

    Raises:
        RefusedError: its key may not.
    """
    if not caller.may_read(scope):
        why = (
            f"copies of {TRACES} are read by a key with the scope {TRACES}."
            if scope == TRACES
            else "copies of what a key has stored are read by that key, and with the scope admin."
        )
        raise RefusedError(why, "id", "insufficient_permissions")
    if scope not in (None, ADMIN, TRACES, caller.key_id):
        audit(workspace.store, caller.project, caller.key_id, action, id, {"key": scope})


def find_file(
    workspace: Workspace,
    project: str,
    id: str,
    purpose: str,
    param: str,
    most_bytes: int | None = None,
) -> StoredFile:
    """A file that was uploaded for a purpose.

    Args:
        param: the field that names it.
        most_bytes: looked at before it is fetched; None: it may have any size.

    Raises:
        RefusedError: there is none, it was uploaded for something else, or is too large.
    """
    try:
        file = stored_files.find(workspace.store, project, id)
    except NotFoundError:
        raise RefusedError(
            f"there is no file {id}.", param, "file_not_found", "Upload it to /v1/files."
        ) from None
    if file.purpose != purpose:
        raise RefusedError(
            f"the file {id} was uploaded for {file.purpose}.",
            param,
            "invalid_file_purpose",
            f"Upload it with the purpose {purpose}.",
        )
    if most_bytes is not None and file.bytes > most_bytes:
        raise RefusedError(
            f"the file {id} has {file.bytes:,} bytes, and may have {most_bytes:,}.",
            param,
            "file_too_large",
            "Divide it.",
        )
    return file
