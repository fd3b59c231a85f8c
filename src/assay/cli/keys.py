"""`assay keys`: create, list, rename, revoke; budgets and usage."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.options import Served, open_served, with_json
from assay.cli.output import print_keys, print_usage

app = typer.Typer(help="Keys of the HTTP API.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="`key_...`, see `assay keys list`")]


def _print_created(key: Any) -> None:
    print(f"{key['id']} ({', '.join(key['scopes'])}; project {key['project']}), shown this once:")
    print(key["key"])


@app.command()
@with_json(_print_created)
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
    folder: Served = Path("."),
) -> Any:
    """Make a key and show it this once."""
    from assay.accounts.costs import check_budget, set_budget
    from assay.accounts.keys import create_key

    workspace = open_served(folder)
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
    return {**asdict(key), "key": secret}


@app.command("list")
@with_json(print_keys)
def list_(folder: Served = Path(".")) -> Any:
    """All keys, without their secrets."""
    from assay.accounts.keys import list_keys

    return list_keys(open_served(folder).store)


@app.command()
def rename(
    id: Id,
    name: Annotated[str, typer.Argument(help="what it is for")],
    folder: Served = Path("."),
) -> None:
    """Say anew what a key is for; its secret stays as it is."""
    from assay.accounts.keys import rename_key

    key = rename_key(open_served(folder).store, id, name)
    print(f"{key.id} is for {key.name}.")


@app.command()
def revoke(
    id: Id,
    folder: Served = Path("."),
) -> None:
    """Make a key worthless, within a second."""
    from assay.accounts.keys import revoke_key

    key = revoke_key(open_served(folder).store, id)
    print(f"Revoked: {key.id} ({key.name}).")


@app.command()
def budget(
    id: Annotated[
        str, typer.Argument(help="`key_...`, see `assay keys list`; `studio`: all who ask there")
    ],
    usd: Annotated[float, typer.Argument(help="what it may spend at providers, in all")],
    folder: Served = Path("."),
) -> None:
    """Change what a key may spend at providers; what it has spent stays spent."""
    from assay.accounts.costs import set_budget

    workspace = open_served(folder)
    set_budget(workspace.store, id, usd, project=workspace.name)
    print(f"{id} may spend {usd:g} USD.")


@app.command()
@with_json(print_usage)
def usage(folder: Served = Path(".")) -> Any:
    """What keys have used of providers' models, and spent."""
    from assay.accounts import costs

    workspace = open_served(folder)
    rows = costs.usage(workspace.store, workspace.name)
    return {"usage": rows, "budgets": costs.budgets(workspace.store)}
