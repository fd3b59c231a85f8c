"""`assay versions`: list, show, diff, trained-on."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.options import AsJson, Folder, open_workspace, with_json
from assay.cli.output import as_json, console, print_table, say_value, shorten
from assay.quantities import say_count, say_time

app = typer.Typer(
    help="Show fine-tuned versions and what they were made from.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(help="The id of a version or its beginning.")]

SHORT = 12


def _print_versions(found: Any) -> None:
    rows = []
    for version in found:
        loss = version["metrics"].get("validation_loss")
        rows.append(
            (
                version["id"][:SHORT],
                version["base"],
                version["method"],
                datetime.fromisoformat(version["saved_at"]),
                None if loss is None else f"{loss:.4f}",
                (version["parent"] or "")[:SHORT],
                ", ".join(version["agents"]),
            )
        )
    columns = ("version", "base", "method", "saved", "loss", "parent", "agents")
    print_table(columns, rows, none="There are no versions yet. `assay train` creates one.")


@app.command("list")
@with_json(_print_versions)
def list_(folder: Folder = Path(".")) -> Any:
    """List all versions, oldest first."""
    from assay.project import versions

    return versions.versions(open_workspace(folder).store)


@app.command()
def show(id: Id, folder: Folder = Path("."), json: AsJson = False) -> None:
    """Show the record of a version and check its files against their hashes."""
    from assay.project import versions

    found = versions.version(open_workspace(folder).store, id)
    if json:
        as_json(found)
        return
    for name, value in versions.facts(found).items():
        said = "unknown" if value is None else say_value(value)
        console.print(f"{name:18} {said}", soft_wrap=True, markup=False)


def _print_differences(found: Any) -> None:
    fields = found["fields"].items()
    rows = [(path, _spell(one), _spell(other)) for path, (one, other) in fields]
    columns = ("", found["first"][:SHORT], found["second"][:SHORT])
    print_table(columns, rows, none="The records are identical.")
    for part, only in found["rows"].items():
        if any(only.values()):
            console.print(
                f"{part}: {say_count(only['only_first'], 'row')} only in the first, "
                f"{only['only_second']} only in the second."
            )


def _spell(value: Any) -> str:
    return shorten(value if isinstance(value, str) else json.dumps(value), 40)


@app.command()
@with_json(_print_differences)
def diff(
    first: Id,
    second: Annotated[str, typer.Argument(help="The id of the version to compare with.")],
    folder: Folder = Path("."),
) -> Any:
    """Show how the records of two versions differ."""
    from assay.project import versions

    return versions.diff(open_workspace(folder).store, first, second)


def _print_trained_on(found: Any) -> None:
    for version in found["versions"]:
        agents = f", used by {', '.join(version['agents'])}" if version["agents"] else ""
        parts = ", ".join(version["as"])
        saved = say_time(datetime.fromisoformat(version["saved_at"]))
        print(f"{version['id'][:SHORT]} of {saved}: {parts}{agents}")
    if not found["versions"]:
        print(f"No version used {found['example']}.")
    if found["agents"]:
        print(
            f"These agents show it, search it or were fitted on it: {', '.join(found['agents'])}."
        )
    if found["unknown"]:
        have = say_count(len(found["unknown"]), "older version has", "older versions have")
        print(f"{have} no record of the rows they used.")


@app.command("trained-on")
@with_json(_print_trained_on)
def trained_on(
    example: Annotated[
        str, typer.Argument(help="The id of an example or the hash of its content.")
    ],
    folder: Folder = Path("."),
) -> Any:
    """List the versions that used an example in training, even if it was deleted since."""
    return open_workspace(folder).find_uses(example)
