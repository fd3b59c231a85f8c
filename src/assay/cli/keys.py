"""`assay keys`: create, list, rename, revoke; budgets and usage."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.accounts.scopes import SCOPES
from assay.cli.options import Served, open_served, with_json
from assay.cli.output import print_keys, print_usage
from assay.quantities import say_number

app = typer.Typer(
    help="Manage API keys of the server, their budgets and usage.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(help="Id of a key (`key_...`), as `assay keys list` shows it.")]


def _print_created(key: Any) -> None:
    scopes = ", ".join(key["scopes"])
    print(f"Created {key['id']} ({scopes}; project {key['project']}). It is shown only once:")
    print(key["key"])


@app.command()
@with_json(_print_created)
def create(
    name: Annotated[str, typer.Argument(help="What the key is used for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(SCOPES[:-1])} or {SCOPES[-1]}. Repeatable."),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(help="The project that the key belongs to. Default: the folder's own."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Label of documents that the key may see. Repeatable. Default: all documents."
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="USD that the key may spend at providers. Default: no limit."),
    ] = None,
    folder: Served = Path("."),
) -> Any:
    """Create a key and print it; it is not shown again."""
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
    """List all keys, without their secrets."""
    from assay.accounts.keys import list_keys

    return list_keys(open_served(folder).store)


@app.command()
def rename(
    id: Id,
    name: Annotated[str, typer.Argument(help="What the key is used for.")],
    folder: Served = Path("."),
) -> None:
    """Rename a key; its secret does not change."""
    from assay.accounts.keys import rename_key

    key = rename_key(open_served(folder).store, id, name)
    print(f"Renamed: {key.id} ({key.name}).")


@app.command()
def revoke(
    id: Id,
    folder: Served = Path("."),
) -> None:
    """Revoke a key; it stops working within a second."""
    from assay.accounts.keys import revoke_key

    key = revoke_key(open_served(folder).store, id)
    print(f"Revoked: {key.id} ({key.name}).")


@app.command()
def budget(
    id: Annotated[
        str, typer.Argument(help="Id of a key (`key_...`), or `studio` for everyone in the studio.")
    ],
    usd: Annotated[float, typer.Argument(help="USD that it may spend at providers in total.")],
    folder: Served = Path("."),
) -> None:
    """Set the budget of a key at providers; what it has spent so far still counts."""
    from assay.accounts.costs import set_budget

    workspace = open_served(folder)
    set_budget(workspace.store, id, usd, project=workspace.name)
    print(f"The budget of {id} is {say_number(usd)} USD.")


@app.command()
@with_json(print_usage)
def usage(folder: Served = Path(".")) -> Any:
    """Show the usage and spending of keys at providers."""
    from assay.accounts import costs

    workspace = open_served(folder)
    rows = costs.usage(workspace.store, workspace.name)
    return {"usage": rows, "budgets": costs.budgets(workspace.store)}
