"""`assay people`: add, list, role, link, remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.cli.options import Served, open_served, with_json
from assay.quantities import say_time

if TYPE_CHECKING:
    from assay.accounts.people import Person
    from assay.project.workspace import Workspace

app = typer.Typer(help="Manage the people who use the studio.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the person, as `assay people list` shows it.")]
Role = Annotated[str, typer.Option(help="viewer, editor or admin.")]
Address = Annotated[
    str | None,
    typer.Option(help="Address of the server, as browsers reach it: by default where it listens."),
]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the person.")],
    role: Role = "viewer",
    address: Address = None,
    folder: Served = Path("."),
) -> None:
    """Add a person and print a link that signs them in once."""
    from assay.accounts import people

    workspace = open_served(folder)
    person = people.add(workspace, name, role)
    print(f"Added {person.name} as {person.role}. The link works once, within an hour:")
    print(_link(workspace, person, address))


def _print_people(found: Any) -> None:
    for person in found:
        print(f"{person.name:24} {person.role:8} since {say_time(person.created)}")


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
def link(name: Name, address: Address = None, folder: Served = Path(".")) -> None:
    """Print a new link that signs a person in once, within an hour."""
    from assay.accounts import people

    workspace = open_served(folder)
    print(_link(workspace, people.find(workspace, name), address))


@app.command()
def remove(name: Name, folder: Served = Path(".")) -> None:
    """Remove a person and sign them out."""
    from assay.accounts import people

    workspace = open_served(folder)
    people.remove(workspace, people.find(workspace, name).id)
    print(f"Removed: {name}.")


def _link(workspace: Workspace, person: Person, address: str | None) -> str:
    from assay.accounts import people
    from assay.config.hosts import DEFAULT_ADDRESS
    from assay.studio.access import ENTER

    address = address or workspace.store.setting(people.ADDRESS) or DEFAULT_ADDRESS
    secret = people.sign_in_secret(workspace, person.id)
    return f"{address.rstrip('/')}{ENTER}?once={secret}"
