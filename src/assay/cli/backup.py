"""`assay backup` and `assay restore`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.options import AsJson, Folder, open_workspace, with_json
from assay.cli.output import as_json
from assay.config import STATE_FOLDER
from assay.errors import UsageError
from assay.store.restored_access import RestoredAccess


def _describe_backup(made: dict[str, Any]) -> str:
    return f"{made['files']} files, {made['bytes'] / 2**20:.1f} MiB, written to {made['file']}."


@with_json(_describe_backup)
def backup(
    file: Annotated[Path, typer.Argument(help="the archive that is written, such as monday.tar")],
    folder: Folder = Path("."),
) -> Any:
    """Write all state (.assay/) to one file, also while it is served; assay.yaml is not state."""
    from assay.store.backup import backup as write

    made = write(open_workspace(folder).store, file)
    return {"file": file, "files": made.files, "bytes": made.bytes, "at": made.made_at}


def restore(
    file: Annotated[Path, typer.Argument(help="an archive of `assay backup`")],
    folder: Folder = Path("."),
    yes: Annotated[bool, typer.Option("--yes", help="let in whoever could get in then")] = False,
    json: AsJson = False,
) -> None:
    """Put the state of an archive into a folder that has none; all of it is checked first.

    Sessions and sign-in links are ended. Keys and people come back as they were when it was made,
    also those revoked and removed since: they are listed, and asked about.
    """
    from assay.store.audit import audit
    from assay.store.backup import restore as read

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
        print(f"The state of {made.made_at} is in {folder / STATE_FOLDER}: {made.files} files.")


def _ask(access: RestoredAccess, yes: bool) -> None:
    """Say who comes back, and go on only where that is meant."""
    lines = [f"key {one['id']} {one['name']!r} (project {one['project']!r})" for one in access.keys]
    lines += [f"{one['role']} {one['name']!r}" for one in access.people]
    lines += [f"the key of the provider {one['name']!r}" for one in access.providers]
    lines += [f"consent for the provider {one['name']!r}" for one in access.consents]
    print("assay: with this state come back, as they were:", file=sys.stderr)
    for line in lines:
        print(f"  {line}", file=sys.stderr)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "this brings back keys, people or consents that may have been revoked since.",
            fix="Where that is meant, say --yes; then revoke and remove what should not be there.",
        )
    typer.confirm("Bring them back?", default=False, abort=True, err=True)
