"""`assay backup` and `assay restore`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.cli.options import AsJson, Folder, confirm, open_workspace, with_json
from assay.cli.output import as_json
from assay.defaults import STATE_FOLDER
from assay.errors import UsageError
from assay.quantities import say_count

if TYPE_CHECKING:
    from assay.store.restored_access import RestoredAccess


def _describe_backup(made: dict[str, Any]) -> str:
    files, mib = say_count(made["files"], "file"), made["bytes"] / 2**20
    said = f"{files} ({mib:.1f} MiB) written to {made['file']}."
    if made["objects"] is not None:
        said += f" Files and trained versions are not in it: they stay in {made['objects']}."
    return said


@with_json(_describe_backup)
def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write, such as monday.tar.")],
    folder: Folder = Path("."),
) -> Any:
    """Write the state (.assay/) to one archive. The server may keep running.

    assay.yaml, data/ and knowledge/ are not included, nor is what is in a bucket (state.objects).
    """
    from assay.store.backup import backup as write

    store = open_workspace(folder).store
    made = write(store, file)
    return {
        "file": file,
        "files": made.files,
        "bytes": made.bytes,
        "at": made.made_at,
        "objects": store.bucket,
    }


def restore(
    file: Annotated[Path, typer.Argument(help="An archive written by `assay backup`.")],
    folder: Folder = Path("."),
    yes: Annotated[
        bool, typer.Option("--yes", help="Restore keys, people and consents without asking.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Restore a backup into a folder that has no state; the archive is checked first.

    Sessions and sign-in links end. API keys, people and consents are restored as they were at the
    time of the backup, including those revoked or removed since; they are listed for confirmation.
    """
    from assay.project.state import database_of
    from assay.store.audit import audit
    from assay.store.backup import restore as read

    if database_of(folder) is not None:
        raise UsageError(
            "the state of this folder is in PostgreSQL, into which an archive is not restored.",
            where=str(folder),
            fix="Restore a dump with psql. To restore the archive, into SQLite, take the database "
            "out of the settings (state.database in assay.yaml, ASSAY_DATABASE).",
        )
    told: dict[str, Any] = {}

    def agree(access: RestoredAccess) -> None:
        told.update(asdict(access))
        if access.anybody:
            _ask(access, yes)

    made = read(file, folder / STATE_FOLDER, agree)
    workspace = open_workspace(folder)
    details = {"made": made.made_at}
    audit(workspace.store, workspace.name, workspace.who, "state.restore", file.name, details)
    if json:
        ended = {name: told.pop(name) for name in ("sessions", "links")}
        done = {"file": str(file), "files": made.files, "bytes": made.bytes, "at": made.made_at}
        as_json(done | told | {"ended": ended})
    else:
        files = say_count(made.files, "file")
        print(f"{files} of {made.made_at} restored to {folder / STATE_FOLDER}.")


def _ask(access: RestoredAccess, yes: bool) -> None:
    """Say who comes back, and go on only where that is meant."""
    lines = [f"key {one['id']} {one['name']!r} (project {one['project']!r})" for one in access.keys]
    lines += [f"{one['role']} {one['name']!r}" for one in access.people]
    lines += [f"the key of the provider {one['name']!r}" for one in access.providers]
    lines += [f"consent for the provider {one['name']!r}" for one in access.consents]
    print("assay: this backup restores the following access:", file=sys.stderr)
    for line in lines:
        print(f"  {line}", file=sys.stderr)
    if yes:
        return
    unasked = UsageError(
        "the backup restores keys, people or consents that may have been revoked since.",
        fix="To restore them, give --yes; then revoke those that should have no access.",
    )
    confirm("Restore them?", unasked)
