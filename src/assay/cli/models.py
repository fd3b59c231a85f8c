"""`assay models`: pull, list, show."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from assay.cli.options import with_json
from assay.cli.output import print_models
from assay.cli.progress import Terminal
from assay.log_lines import printable

app = typer.Typer(help="Pull and show base models.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="Starter name, hub id, folder or GGUF file.")]


@app.command()
def pull(model: Model) -> None:
    """Pull a language model, embedder or cross-encoder into the user's cache and check it."""
    from assay.models.show import fetch

    print(fetch(model, progress=Terminal()))


@app.command("list")
@with_json(print_models)
def list_() -> Any:
    """List the starter models and whether they are on this machine."""
    from assay.project.models import list_base_models

    return [asdict(row) for row in list_base_models()]


def _print_facts(facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        said = "unknown" if value is None else printable(str(value))
        print(f"{key.replace('_', ' '):18} {said}")


@app.command()
@with_json(_print_facts)
def show(model: Model) -> Any:
    """Show a model's architecture, size, context length, licence and hash."""
    from assay.models.show import describe

    return asdict(describe(model, progress=Terminal()))
