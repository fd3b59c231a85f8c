"""`assay backup` and `assay restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import as_json
from assay.config import STATE_FOLDER

Folder = Annotated[Path, typer.Option("--project", help="the project's folder")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


def backup(
    file: Annotated[Path, typer.Argument(help="the archive that is written, such as monday.tar")],
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Write all state (.assay/) to one file, also while it is served; assay.yaml is not state."""
    from assay import project
    from assay.store.backup import backup as write

    made = write(project.open_workspace(folder).store, file)
    if json:
        as_json({"file": str(file), "files": made.files, "bytes": made.bytes, "at": made.made_at})
    else:
        print(f"{made.files} files, {made.bytes / 2**20:.1f} MiB, written to {file}.")


def restore(
    file: Annotated[Path, typer.Argument(help="an archive of `assay backup`")],
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Put the state of an archive into a folder that has none; all of it is checked first."""
    from assay.store.backup import restore as read

    made = read(file, folder / STATE_FOLDER)
    if json:
        as_json({"file": str(file), "files": made.files, "bytes": made.bytes, "at": made.made_at})
    else:
        print(f"The state of {made.made_at} is in {folder / STATE_FOLDER}: {made.files} files.")
