"""`assay models`: pull, list, show."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from assay.cli.output import as_json, print_models
from assay.cli.progress import Terminal

app = typer.Typer(help="Fetch and look at models.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


@app.command()
def pull(
    model: Annotated[str, typer.Argument(help="catalogue name, hub id, folder or GGUF file")],
) -> None:
    """Fetch a model, check it, keep it in the user's cache."""
    from assay.models.pull import pull as fetch

    print(fetch(model, progress=Terminal()))


@app.command("list")
def list_(json: AsJson = False) -> None:
    """The starter catalogue, and what of it is here."""
    from assay.project.models import listed

    rows = [asdict(row) for row in listed()]
    if json:
        as_json(rows)
    else:
        print_models(rows)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="catalogue name, hub id, folder or GGUF file")],
    json: AsJson = False,
) -> None:
    """What a model is: architecture, size, context, licence, hash."""
    from assay.models.show import describe

    facts = asdict(describe(model, progress=Terminal()))
    if json:
        as_json(facts)
        return
    for key, value in facts.items():
        print(f"{key.replace('_', ' '):18} {value if value is not None else 'unknown'}")
