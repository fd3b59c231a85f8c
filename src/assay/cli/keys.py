"""`assay keys`: create, list, rename, revoke; budgets and usage."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.output import as_json, print_keys, print_usage

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
    label: Annotated[
        list[str] | None,
        typer.Option(help="it sees only documents with this label; repeatable; none: all"),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="USD that it may spend at providers; without: no limit")
    ] = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Make a key and show it this once."""
    from assay.accounts.costs import check_budget, set_budget
    from assay.accounts.keys import create_key
    from assay.project.workspace import Workspace

    workspace = Workspace(folder)
    check_budget(budget)
    key, secret = create_key(
        workspace.store,
        project or workspace.name,
        name,
        scope or ["chat"],
        labels=label or None,
    )
    if budget is not None:
        set_budget(workspace.store, key.id, budget)
        key = replace(key, budgeted=True)
    if json:
        as_json({**_plain(key), "key": secret})
        return
    print(f"{key.id} ({', '.join(key.scopes)}; project {key.project}), shown this once:")
    print(secret)


@app.command("list")
def list_(folder: Folder = Path("."), json: AsJson = False) -> None:
    """All keys, without their secrets."""
    from assay.accounts.keys import list_keys
    from assay.project.workspace import Workspace

    rows = [_plain(key) for key in list_keys(Workspace(folder).store)]
    if json:
        as_json(rows)
    else:
        print_keys(rows)


@app.command()
def rename(
    id: Annotated[str, typer.Argument(help="`key_...`, see `assay keys list`")],
    name: Annotated[str, typer.Argument(help="what it is for")],
    folder: Folder = Path("."),
) -> None:
    """Say anew what a key is for; its secret stays as it is."""
    from assay.accounts.keys import rename_key
    from assay.project.workspace import Workspace

    key = rename_key(Workspace(folder).store, id, name)
    print(f"{key.id} is for {key.name}.")


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="`key_...`, see `assay keys list`")],
    folder: Folder = Path("."),
) -> None:
    """Make a key worthless, within a second."""
    from assay.accounts.keys import revoke_key
    from assay.project.workspace import Workspace

    key = revoke_key(Workspace(folder).store, id)
    print(f"Revoked: {key.id} ({key.name}).")


@app.command()
def budget(
    id: Annotated[
        str, typer.Argument(help="`key_...`, see `assay keys list`; `studio`: all who ask there")
    ],
    usd: Annotated[float, typer.Argument(help="what it may spend at providers, in all")],
    folder: Folder = Path("."),
) -> None:
    """Change what a key may spend at providers; what it has spent stays spent."""
    from assay.accounts.costs import set_budget
    from assay.project.workspace import Workspace

    workspace = Workspace(folder)
    set_budget(workspace.store, id, usd, project=workspace.name)
    print(f"{id} may spend {usd:g} USD.")


@app.command()
def usage(folder: Folder = Path("."), json: AsJson = False) -> None:
    """What keys have used of providers' models, and spent."""
    from assay.accounts import costs
    from assay.project.workspace import Workspace

    workspace = Workspace(folder)
    rows = costs.usage(workspace.store, workspace.name)
    if json:
        budgets = {key: asdict(held) for key, held in costs.budgets(workspace.store).items()}
        as_json({"usage": rows, "budgets": budgets})
        return
    print_usage(rows)
    for key, held in costs.budgets(workspace.store).items():
        print(f"{key}: {held.spent:.6f} USD of {held.most:g} spent, {held.reserved:.6f} reserved.")


def _plain(key: Any) -> dict[str, Any]:
    times = {"created": key.created, "revoked": key.revoked}
    return asdict(key) | {n: at.isoformat() if at else None for n, at in times.items()}
