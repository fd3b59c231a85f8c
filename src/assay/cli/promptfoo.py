"""`assay promptfoo`: a promptfooconfig.yaml made a project, and a project written as one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.options import Folder, open_workspace, with_json
from assay.cli.progress import Terminal
from assay.defaults import STARTER_MODEL
from assay.log_lines import printable
from assay.quantities import say_count

app = typer.Typer(help="Read promptfoo's configurations, and write them.", no_args_is_help=True)
_SHOWN = 20


@app.callback()
def top() -> None:
    """Read promptfoo's configurations, and write them."""


def _print_import(made: Any) -> None:
    if made.project:
        print(
            f"{made.project}: {say_count(made.rows, 'row')} of {say_count(made.tests, 'test')}; "
            f"`{made.primary}` decides."
        )
    else:
        print(f"No project was made: {made.reason}")
    if made.assertions:
        kinds = ", ".join(f"{name} {count:,}" for name, count in made.assertions.items())
        print(f"Assertions: {kinds}.")
    if made.rows_file:
        print(f"{say_count(made.rows, 'row')} with a right answer: {made.rows_file}")
    if made.inputs_file:
        print(
            f"{say_count(made.inputs, 'input')} whose right answer no test says: {made.inputs_file}"
        )
    if made.unsupported:
        print(f"{say_count(len(made.unsupported), 'has', 'have')} no equal here:")
        for one in made.unsupported[:_SHOWN]:
            line = f", line {one.line}" if one.line else ""
            print(printable(f"  {one.file}{line}, {one.key}: {one.what} ({one.reason})"))
        if len(made.unsupported) > _SHOWN:
            print(f"  ... all of them are in {Path(made.folder) / 'promptfoo.json'}.")
    if made.project:
        included = "".join(f" --agent {shlex.quote(label)}" for label in made.agents)
        print(f"Next: assay compare --project {shlex.quote(made.project)}{included}")
    elif made.inputs_file or made.rows_file:
        print(
            "Next: add rows with their right answer as the assistant's turn, then: "
            f"assay init NAME --data {shlex.quote(made.rows_file or 'tests.jsonl')}"
        )


@app.command("import")
@with_json(_print_import)
def import_(
    config: Annotated[Path, typer.Argument(help="A promptfooconfig.yaml.")],
    to: Annotated[Path, typer.Option(help="Folder to make; its name is the project's.")],
    model: Annotated[
        str, typer.Option(help="The language model to be specialised.")
    ] = STARTER_MODEL,
    judge: Annotated[
        str | None,
        typer.Option(help="Model that judges what llm-rubric and its like ask for."),
    ] = None,
) -> Any:
    """Make a project of a promptfooconfig.yaml, and list what has no equal.

    Files are read only in its folder; no program that it names is run.
    """
    from assay.project import promptfoo

    return promptfoo.import_config(config, to, model=model, judge=judge, progress=Terminal())


def _print_export(made: Any) -> None:
    print(f"{made.file}: {say_count(made.tests, 'test')} against {', '.join(made.models)}.")
    if made.left_out:
        print(
            f"{say_count(made.left_out, 'row is', 'rows are')} left out: tests hold one turn of "
            "the user, no tools, no {{, {% or {#, and nothing that begins with file:// or package:."
        )
    for label, why in made.unsupported.items():
        print(printable(f"Grader {label}: {why}."))
    print(
        "Next: start `assay serve`, put a key of `assay keys create` into ASSAY_API_KEY, then: "
        f"promptfoo eval -c {shlex.quote(made.file)}"
    )


@app.command("export")
@with_json(_print_export)
def export(
    to: Annotated[Path, typer.Argument(help="Folder to make.")],
    base_url: Annotated[
        str, typer.Option(help="Base URL of `assay serve`, including /v1.")
    ] = "http://127.0.0.1:8000/v1",
    folder: Folder = Path("."),
) -> Any:
    """Write a project as a promptfooconfig.yaml; the holdout's rows stay closed."""
    from assay.project import promptfoo

    workspace = open_workspace(folder)
    return promptfoo.export_config(workspace, to, base_url=base_url, progress=Terminal())
