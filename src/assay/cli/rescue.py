"""`assay rescue`: what an account elsewhere holds, fetched before it is lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape

from assay.cli.options import AsJson, Folder
from assay.cli.output import as_json, console, print_table, shorten
from assay.cli.progress import Terminal
from assay.errors import UsageError
from assay.log_lines import printable

if TYPE_CHECKING:
    from assay.rescue.client import Access

app = typer.Typer(help="Fetch what an account holds before it is lost.", no_args_is_help=True)
_SHOWN = 20


@app.callback()
def top() -> None:
    """Fetch what an account holds before it is lost."""


@app.command()
def openai(
    to: Annotated[Path, typer.Option(help="Folder to write; a killed run goes on in it.")],
    base_url: Annotated[
        str | None,
        typer.Option(help="Base URL including /v1: https or loopback. Default: OpenAI's."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(help="Provider of the project whose address and key are used instead."),
    ] = None,
    folder: Folder = Path("."),
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
    same_account: Annotated[
        bool,
        typer.Option(
            "--same-account",
            help="The folder is of this account, though the key, organisation or project differs.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Fetch fine-tuning jobs, evals, stored completions and their files from OpenAI.

    The key is read from OPENAI_API_KEY, or is that of --provider. Only GET requests are sent. The
    exit code is 1 if anything was not fetched; the same command then asks for that alone.
    """
    from assay.project import rescue

    access = rescue.open_account(base_url, provider, folder)
    _ask(access, to, provider, yes)
    report = rescue.rescue(access, to, Terminal(), same_account=same_account)
    if json:
        as_json(report)
    else:
        _print_report(report, to)
    if not report["complete"]:
        raise typer.Exit(1)


def _ask(access: Access, to: Path, provider: str | None, yes: bool) -> None:
    """Say what is about to be done, and go on only where that is meant."""
    address = access.provider.base_url
    key = f"of the provider {provider}" if provider else "in OPENAI_API_KEY"
    for line in (
        f"This reads the account of the key {key} at {address} and writes to {to}:",
        "  models; fine-tuning jobs with events and checkpoints; evals with runs and output items;",
        "  stored chat completions with messages; files for fine-tuning and evals.",
        "Only GET requests are sent: nothing is changed or deleted there and no model is asked.",
        "OpenAI does not charge for them; another server's operator may.",
        f"The key goes to {access.provider.origin} only, and is not shown; a salted hash is kept.",
        "The folder will hold your users' data; only you can read it.",
    ):
        print(printable(line), file=sys.stderr)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to agree.", fix="To fetch without asking, give --yes.")
    typer.confirm("Fetch it?", default=False, abort=True, err=True)


def _print_report(report: dict[str, Any], to: Path) -> None:
    rows = [
        (one["kind"], one["complete"], one["missing"], one["objects"], decimal(one["bytes"]))
        for one in report["kinds"]
    ]
    columns = ("what", "complete", "missing", "objects", "size")
    print_table(columns, rows, numbers=columns[1:])
    for one in report["fine_tuned_models"]:
        end = f"ends {one['ends']}" if one["ends"] else "end unknown"
        line = printable(f"{one['model']}, on {one['base']}: {end} ({one['ends_according_to']})")
        console.print(escape(line), soft_wrap=True)
    missing = report["missing"]
    if missing:
        console.print(f"{len(missing)} parts were not fetched:")
    for one in missing[:_SHOWN]:
        line = f"  {one['kind']} {shorten(one['id'], 60)}: {one['reason']}"
        console.print(escape(printable(line)), soft_wrap=True)
    if len(missing) > _SHOWN:
        console.print(f"  ... and {len(missing) - _SHOWN} more, in the report.")
    console.print(f"Report: {escape(str(to / 'report.md'))}", soft_wrap=True)
    for step in report["next"]:
        console.print(escape(printable(step)), soft_wrap=True)
