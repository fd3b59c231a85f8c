"""`assay state`: show, move."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from assay.cli.options import AsJson, Served, confirm, with_json
from assay.cli.output import as_json
from assay.errors import UsageError
from assay.quantities import say_count

if TYPE_CHECKING:
    from assay.project.state_move import StateAccount, StateMove

app = typer.Typer(
    help="Show where the state is kept, and move it to another database or bucket.",
    no_args_is_help=True,
)


def _print_account(found: StateAccount) -> None:
    size = "" if found.database_bytes is None else f", {decimal(found.database_bytes)}"
    print(f"{'database':10} {found.database}{size}")
    if found.moves_database:
        print(f"{'':10} the settings name {found.database_named}")
    print(f"{'files':10} {found.objects} ({found.files} of /v1/files, {decimal(found.file_bytes)})")
    if found.moves_objects:
        print(f"{'':10} the settings name {found.objects_named}")
    print(f"{'version':10} {found.version} of the tables")
    for name, count in found.rows.items():
        if count:
            print(f"{'rows':10} {name:24} {count:>10}")
    for path in found.left:
        print(f"{'left':10} {path}: of an earlier place; to delete it: rm -r {path}")
    if found.moves_database or found.moves_objects:
        print(
            "\nThe state is not where the settings say. To move it there, stop all servers and "
            "workers and run `assay state move`."
        )
    elif found.unfinished:
        print("\nThe old place of the last move is not marked yet: run `assay state move`.")


@app.command()
@with_json(_print_account)
def show(folder: Served = Path(".")) -> Any:
    """Show where the state of a folder is, what it has, and what the settings name."""
    from assay.project.state_move import account_of

    return account_of(folder)


@app.command()
def move(
    folder: Served = Path("."),
    yes: Annotated[bool, typer.Option("--yes", help="Move without asking.")] = False,
    json: AsJson = False,
) -> None:
    """Move the state to the database and the bucket that assay.yaml or the environment names.

    Without a database there, it moves to SQLite; without a bucket, files move to the folder. All
    servers and workers of the folder must be stopped. What was copied is compared, row by row and
    file by file, before the new place counts. The old place is left, under another name.
    """
    from assay.cli.progress import Terminal
    from assay.project.state_move import account_of, move_state

    found = account_of(folder)
    _ask(found, yes)
    moved = move_state(folder, Terminal())
    if json:
        as_json(asdict(moved))
    else:
        _print_move(found, moved)


def _ask(found: StateAccount, yes: bool) -> None:
    """Say what will be moved, and go on only where that is meant."""
    lines = []
    if found.moves_database:
        rows = sum(found.rows.values())
        lines.append(f"{say_count(rows, 'row')} from {found.database} to {found.database_named}")
    if found.moves_objects:
        what = f"{say_count(found.files, 'file')} ({decimal(found.file_bytes)})"
        lines.append(f"{what} from {found.objects} to {found.objects_named}")
    if not lines:
        return
    print("assay: this will be moved:", file=sys.stderr)
    for line in lines:
        print(f"  {line}", file=sys.stderr)
    if yes:
        return
    unasked = UsageError(
        "without a terminal nobody can confirm this.",
        fix="Give --yes, with the environment that the servers have.",
    )
    confirm("Have all servers and workers been stopped?", unasked)


def _print_move(found: StateAccount, moved: StateMove) -> None:
    if moved.database is None and moved.objects is None:
        print(f"The state is where the settings say: {found.database}, files in {found.objects}.")
        return
    if moved.database is not None:
        rows = sum(table.rows for table in moved.database.tables)
        print(
            f"{say_count(rows, 'row')} of {len(moved.database.tables)} tables "
            f"{'is' if rows == 1 else 'are'} in {moved.database.target}, the same as before by "
            "their SHA-256."
        )
        print(moved.database.left)
    if moved.objects is not None:
        print(
            f"{say_count(moved.objects.objects, 'file')} ({decimal(moved.objects.bytes)}) in "
            f"{moved.objects.target}, the same as before by their SHA-256."
        )
        if moved.objects.missing:
            print(
                f"{say_count(len(moved.objects.missing), 'was', 'were')} not at the old place "
                f"either: {', '.join(moved.objects.missing[:5])}"
            )
        print(moved.objects.left)
