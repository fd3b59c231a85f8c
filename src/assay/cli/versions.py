"""`assay versions`: list, show, diff, trained-on."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from assay.cli.output import as_json, console, table

app = typer.Typer(help="Fine-tuned versions and what made them.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--project", help="the project's folder")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Id = Annotated[str, typer.Argument(help="a version's id, or how it begins")]

SHORT = 12


@app.command("list")
def list_(folder: Folder = Path("."), json: AsJson = False) -> None:
    """List every version, the oldest first."""
    from assay import project
    from assay.project import versions

    found = versions.versions(project.open_workspace(folder).store)
    if json:
        as_json(found)
        return
    rows = table(None, "version", "base", "method", "saved", "loss", "parent", "agents")
    for version in found:
        loss = version["metrics"].get("validation_loss")
        rows.add_row(
            version["id"][:SHORT],
            escape(version["base"]),
            version["method"] or "",
            version["saved_at"],
            "" if loss is None else f"{loss:.4f}",
            (version["parent"] or "")[:SHORT],
            escape(", ".join(version["agents"])),
        )
    console.print(rows if found else "There are no versions; `assay train` makes one.")


@app.command()
def show(id: Id, folder: Folder = Path("."), json: AsJson = False) -> None:
    """All that made a version; its files are checked against their hashes."""
    from assay import project
    from assay.project import versions

    found = versions.version(project.open_workspace(folder).store, id)
    if json:
        as_json(found)
        return
    for name, value in versions.facts(found).items():
        console.print(
            f"{name:18} {'unknown' if value is None else value}", soft_wrap=True, markup=False
        )


@app.command()
def diff(
    first: Id,
    second: Annotated[str, typer.Argument(help="another version's id")],
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """What two versions were made of differently."""
    from assay import project
    from assay.project import versions

    found = versions.diff(project.open_workspace(folder).store, first, second)
    if json:
        as_json(found)
        return
    rows = table(None, "", found["first"][:SHORT], found["second"][:SHORT])
    for path, (one, other) in found["fields"].items():
        rows.add_row(path, _short(one), _short(other))
    console.print(rows if found["fields"] else "The records say the same.")
    for part, only in found["rows"].items():
        if any(only.values()):
            console.print(
                f"{part}: {only['only_first']} rows only in the first, {only['only_second']} only "
                "in the second."
            )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else jsonlib.dumps(value)
    return escape(text if len(text) <= 40 else f"{text[:37]}...")


@app.command("trained-on")
def trained_on(
    example: Annotated[str, typer.Argument(help="an example's id, or the hash of its content")],
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """The versions that saw an example, and so remember it after it is deleted."""
    from assay import project

    found = project.open_workspace(folder).trained_on(example)
    if json:
        as_json(found)
        return
    for version in found["versions"]:
        agents = f", used by {', '.join(version['agents'])}" if version["agents"] else ""
        parts = ", ".join(version["as"])
        print(f"{version['id'][:SHORT]} of {version['saved_at']}: {parts}{agents}")
    if not found["versions"]:
        print(f"No version saw {example}.")
    if found["unknown"]:
        print(f"Of {len(found['unknown'])} older versions it is not known which rows they saw.")
