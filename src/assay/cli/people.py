"""`assay people`: add, list, role, link, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.options import Served, open_served, with_json

app = typer.Typer(help="People who use the studio.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="see `assay people list`")]
Role = Annotated[str, typer.Option(help="viewer, editor or admin")]
Address = Annotated[str, typer.Option(help="of the server, as browsers reach it")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="of the person")],
    role: Role = "viewer",
    address: Address = "http://127.0.0.1:8000",
    folder: Served = Path("."),
) -> None:
    """Let somebody in, and print a link that signs them in once."""
    from assay.accounts import people

    workspace = open_served(folder)
    person = people.add(workspace, name, role)
    print(f"{person.name} is {person.role}. Good once, for an hour:")
    print(_link(address, people.sign_in_secret(workspace, person.id)))


def _print_people(found: Any) -> None:
    for person in found:
        print(f"{person.name:24} {person.role:8} since {person.created:%Y-%m-%d}")


@app.command("list")
@with_json(_print_people)
def list_(folder: Served = Path(".")) -> Any:
    """List everybody and their roles."""
    from assay.accounts import people

    return people.people(open_served(folder))


@app.command("role")
def set_role(
    name: Name,
    role: Annotated[str, typer.Argument(help="viewer, editor or admin")],
    folder: Served = Path("."),
) -> None:
    """Give somebody another role; who may less than before is signed out."""
    from assay.accounts import people

    workspace = open_served(folder)
    person = people.set_role(workspace, people.find(workspace, name).id, role)
    print(f"{person.name} is {person.role}.")


@app.command()
def link(
    name: Name, address: Address = "http://127.0.0.1:8000", folder: Served = Path(".")
) -> None:
    """Print a new link that signs somebody in, once and within the hour."""
    from assay.accounts import people

    workspace = open_served(folder)
    print(_link(address, people.sign_in_secret(workspace, people.find(workspace, name).id)))


@app.command()
def remove(name: Name, folder: Served = Path(".")) -> None:
    """Remove somebody's access, and sign them out."""
    from assay.accounts import people

    workspace = open_served(folder)
    people.remove(workspace, people.find(workspace, name).id)
    print(f"Removed: {name}.")


def _link(address: str, secret: str) -> str:
    from assay.studio.access import ENTER

    return f"{address.rstrip('/')}{ENTER}?once={secret}"
