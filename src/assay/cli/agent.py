"""`assay agent`: list, show, edit, history, diff, rollback."""

from __future__ import annotations

import difflib
import json as jsonlib
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.accounts.authors import format_author
from assay.cli.options import AsJson, Folder, open_workspace, with_json
from assay.cli.output import as_json, print_table
from assay.errors import AssayError, NotFoundError, UsageError

app = typer.Typer(help="Manage agents and their versions.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The name of the agent.")]
Label = Annotated[str, typer.Argument(help="NAME for the newest version, or NAME@VERSION.")]
Message = Annotated[
    str | None,
    typer.Option("--message", "-m", help="Why the agent was changed; saved with the version."),
]

SHORT = 12  # digits of an id that is shown to people


def _print_versions(found: Any) -> None:
    rows = []
    for version in found:
        author = format_author(version.author)
        rows.append((version.label, version.agent[:SHORT], version.at, author, version.message))
    columns = ("agent", "id", "saved", "by", "why")
    print_table(columns, rows, none="There are no agents yet. `assay compare` creates some.")


@app.command("list")
@with_json(_print_versions)
def list_(folder: Folder = Path(".")) -> Any:
    """List all agents at their newest version."""
    from assay.project import agents

    return agents.list_agents(open_workspace(folder))


@app.command()
@with_json(lambda draft: draft.text.removesuffix("\n"))
def show(label: Label, folder: Folder = Path(".")) -> Any:
    """Print the YAML text of an agent as it was saved."""
    from assay.project import agents

    return agents.read(open_workspace(folder), label)


@app.command()
def edit(
    name: Name,
    set: Annotated[
        list[str] | None,
        typer.Option("--set", help="SETTING=VALUE; changes one setting. Repeatable."),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="File with the complete YAML text; - for stdin.")
    ] = None,
    based_on: Annotated[
        str | None,
        typer.Option(
            help="Hash of the text that you edited (`show --json`). Default: the current one."
        ),
    ] = None,
    message: Message = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Change an agent or, with --file, create one. Without options, $EDITOR opens."""
    from assay.project import agents

    if set and file is not None:
        raise UsageError("--set and --file cannot be used together.", fix="Use one of them.")
    workspace = open_workspace(folder)
    before = _read_or_none(workspace, name)
    read = based_on or (before.hash if before else None)
    if file is not None:
        text, said = _text_of(file), f"from {'stdin' if file == '-' else file}"
    else:
        if before is None:
            agents.read(workspace, name)  # says that there is none, and which there are
            return
        if set:
            text = agents.set_values(before.text, set)
            said = f"set {', '.join(setting.partition('=')[0] for setting in set)}"
        else:
            _in_editor(workspace, before, message, json)
            return
    saved = agents.save(workspace, name, text, based_on=read, message=message or said)
    _print_saved(saved, before.version if before else None, json)


@app.command()
@with_json(_print_versions)
def history(
    name: Annotated[
        str | None, typer.Argument(help="The name of the agent. Default: all agents.")
    ] = None,
    folder: Folder = Path("."),
) -> Any:
    """List the versions of an agent, newest first: who saved them, when and why."""
    from assay.project import agents

    return agents.history(open_workspace(folder), name)


def _print_differences(found: dict[str, Any]) -> None:
    if not found["fields"]:
        print(f"{found['first']} and {found['second']} are identical.")
    for path, (one, other) in found["fields"].items():
        print(f"{path}:")
        for line in difflib.ndiff(_lines(one), _lines(other)):
            if line[0] != "?":
                print(f"  {line}".rstrip())


@app.command()
@with_json(_print_differences)
def diff(
    first: Label,
    second: Annotated[str, typer.Argument(help="The NAME or NAME@VERSION to compare with.")],
    folder: Folder = Path("."),
) -> Any:
    """Show how two agents, or two versions of one agent, differ."""
    from assay.project import agents

    return agents.diff(open_workspace(folder), first, second)


@app.command()
def rollback(
    name: Name,
    version: Annotated[
        int | None,
        typer.Argument(min=1, help="Number of the version. Default: the one before the newest."),
    ] = None,
    message: Message = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Save an earlier version as the newest one; the history keeps all versions."""
    from assay.project import agents

    workspace = open_workspace(folder)
    before = agents.read(workspace, name).version
    _print_saved(agents.rollback(workspace, name, version, message=message), before, json)


def _in_editor(workspace: Any, before: Any, message: str | None, json: bool) -> None:
    """Edit until it is an agent or is given up; what was written stays in a file until it is saved.

    Raises:
        UsageError: there is no terminal, or it was given up.
        AssayError: it cannot be saved.
    """
    import click

    from assay.project import agents

    if not _at_a_terminal():
        raise UsageError(
            "an editor can only be opened in a terminal.",
            fix="Use --set SETTING=VALUE or --file FILE.",
        )
    handle, path = tempfile.mkstemp(prefix=f"{before.name}-", suffix=".yaml")
    with open(handle, "w", encoding="utf-8") as out:
        out.write(before.text)
    kept = f"Your text is kept in {path}."
    while True:
        click.edit(filename=path)
        text = _text_of(path)
        if text == before.text:
            Path(path).unlink()
            _print_saved(before, before.version, json)
            return
        problems = agents.check(workspace, text)
        for problem in problems:
            print(problem, file=sys.stderr)
        if not problems:
            break
        if not typer.confirm("Edit again?", default=True, err=True):
            raise UsageError("nothing was saved.", fix=kept)
    try:
        saved = agents.save(
            workspace, before.name, text, based_on=before.hash, message=message or "edited"
        )
    except AssayError:
        print(kept, file=sys.stderr)
        raise
    Path(path).unlink()
    _print_saved(saved, before.version, json)


def _read_or_none(workspace: Any, name: str) -> Any:
    from assay.project import agents

    if "@" in name:
        raise UsageError(
            f"{name!r} is a version, and versions cannot be changed.",
            fix="Edit the agent by its name, or restore a version with `assay agent rollback`.",
        )
    try:
        return agents.read(workspace, name)
    except NotFoundError:
        return None


def _at_a_terminal() -> bool:
    return sys.stdin.isatty()


def _text_of(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"the file cannot be read ({error.strerror}).", where=file) from None
    except UnicodeDecodeError:
        raise UsageError("the file is not UTF-8 text.", where=file) from None


def _print_saved(saved: Any, before: Any, json: bool) -> None:
    if json:
        as_json(saved)
    elif saved == before:
        print(f"{saved.label} has this text already; nothing was saved.")
    else:
        print(f"Saved {saved.label}. Releases still serve what they served before.")
        print(f"  assay compare --agent {saved.label}            # measure it")
        print(f"  assay release promote RELEASE {saved.label}    # serve it")


def _lines(value: Any) -> list[str]:
    return (value if isinstance(value, str) else jsonlib.dumps(value)).splitlines()
