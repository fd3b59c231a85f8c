"""`assay people`: add, list, role, link, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.options import Served, open_served, with_json
from assay.config.hosts import DEFAULT_ADDRESS

app = typer.Typer(help="Manage the people who use the studio.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the person, as `assay people list` shows it.")]
Role = Annotated[str, typer.Option(help="viewer, editor or admin.")]
Address = Annotated[str, typer.Option(help="Address of the server, as browsers reach it.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the person.")],
    role: Role = "viewer",
    address: Address = DEFAULT_ADDRESS,
    folder: Served = Path("."),
) -> None:
    """Add a person and print a link that signs them in once."""
    from assay.accounts import people

    workspace = open_served(folder)
    person = people.add(workspace, name, role)
    print(f"Added {person.name} as {person.role}. The link works once, within an hour:")
    print(_link(address, people.sign_in_secret(workspace, person.id)))


def _print_people(found: Any) -> None:
    for person in found:
        print(f"{person.name:24} {person.role:8} since {person.created:%Y-%m-%d}")


@app.command("list")
@with_json(_print_people)
def list_(folder: Served = Path(".")) -> Any:
    """List all people and their roles."""
    from assay.accounts import people

    return people.people(open_served(folder))


@app.command("role")
def set_role(
    name: Name,
    role: Annotated[str, typer.Argument(help="viewer, editor or admin.")],
    folder: Served = Path("."),
) -> None:
    """Change the role of a person; a lower role signs them out."""
    from assay.accounts import people

    workspace = open_served(folder)
    person = people.set_role(workspace, people.find(workspace, name).id, role)
    print(f"{person.name} now has the role {person.role}.")


@app.command()
def link(name: Name, address: Address = DEFAULT_ADDRESS, folder: Served = Path(".")) -> None:
    """Print a new link that signs a person in once, within an hour."""
    from assay.accounts import people

    workspace = open_served(folder)
    print(_link(address, people.sign_in_secret(workspace, people.find(workspace, name).id)))


@app.command()
def remove(name: Name, folder: Served = Path(".")) -> None:
    """Remove a person and sign them out."""
    from assay.accounts import people

    workspace = open_served(folder)
    people.remove(workspace, people.find(workspace, name).id)
    print(f"Removed: {name}.")


def _link(address: str, secret: str) -> str:
    from assay.studio.access import ENTER

    return f"{address.rstrip('/')}{ENTER}?once={secret}"
