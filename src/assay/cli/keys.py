"""`assay keys`: create, list, revoke."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.output import as_json, print_keys

app = typer.Typer(help="Keys of the HTTP API.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="the folder that is served")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="what it is for")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="admin, chat, files, fine_tuning, releases, knowledge or traces; repeatable"
        ),
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="whose things it sees; the folder's own")
    ] = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Make a key and show it this once."""
    from assay.project.access import create_key
    from assay.project.workspace import Workspace

    workspace = Workspace(folder)
    key, secret = create_key(workspace.store, project or workspace.name, name, scope or ["chat"])
    if json:
        as_json({**_plain(key), "key": secret})
        return
    print(f"{key.id} ({', '.join(key.scopes)}; project {key.project}), shown this once:")
    print(secret)


@app.command("list")
def list_(folder: Folder = Path("."), json: AsJson = False) -> None:
    """All keys, without their secrets."""
    from assay.project.access import list_keys
    from assay.project.workspace import Workspace

    rows = [_plain(key) for key in list_keys(Workspace(folder).store)]
    if json:
        as_json(rows)
    else:
        print_keys(rows)


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="`key_...`, see `assay keys list`")],
    folder: Folder = Path("."),
) -> None:
    """Make a key worthless, within a second."""
    from assay.project.access import revoke_key
    from assay.project.workspace import Workspace

    key = revoke_key(Workspace(folder).store, id)
    print(f"Revoked: {key.id} ({key.name}).")


def _plain(key: Any) -> dict[str, Any]:
    times = {"created": key.created, "revoked": key.revoked}
    return asdict(key) | {n: at.isoformat() if at else None for n, at in times.items()}
