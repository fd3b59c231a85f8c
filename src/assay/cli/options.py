"""What commands share: options, `--json`, asking for consent.

A command with `--json` returns what it has found, and says how that is printed for people:

    @app.command("list")
    @with_json(print_jobs)
    def list_(folder: Served = Path(".")) -> Any:
        return [as_dict(job) for job in queue.jobs(open_served(folder).store)]
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from assay.cli.output import as_json
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.project.workspace import Workspace

T = TypeVar("T")

Folder = Annotated[Path, typer.Option("--project", help="The project's folder.")]
Served = Annotated[Path, typer.Option("--folder", help="The folder that is served.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
InputColumns = Annotated[
    str | None, typer.Option("--input", help='Input column, or several: a,b ("a,b" is one).')
]
OutputColumns = Annotated[
    str | None, typer.Option("--output", help='Output column, or several: a,b ("a,b" is one).')
]
IdColumn = Annotated[str | None, typer.Option("--id", help="Column with a unique id.")]
TaskOption = Annotated[str | None, typer.Option("--task", help="label, json, text or tools.")]


def parse_names(option: str, value: str) -> list[str]:
    """The columns that an option names.

    Raises:
        UsageError: there are none.
    """
    from assay.config import split_names

    if not (names := split_names(value)):
        raise UsageError(f"{option} names no column.", fix="Name one, or several: a,b.")
    return names


def with_json(show: Callable[[Any], object]) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Gives a command the option `--json`: its result is one document then, else `show` prints it.

    Args:
        show: prints a result for people; a text that it returns is printed, too.
    """

    def add_option(command: Callable[..., Any]) -> Callable[..., None]:
        @wraps(command)
        def run(*, json: bool, **given: Any) -> None:
            result = command(**given)
            if json:
                as_json(result)
            elif isinstance(text := show(result), str):
                print(text)

        own = inspect.signature(command, eval_str=True).parameters.values()
        option = Parameter("json", Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)
        run.__signature__ = inspect.Signature([*own, option])  # type: ignore[attr-defined]
        return run

    return add_option


def open_workspace(folder: Path) -> Workspace:
    """The project in a folder, or the state of a server there; imported once a command needs it.

    Raises:
        UsageError: the folder holds neither.
    """
    from assay.project import workspace

    return workspace.open_workspace(folder)


def open_served(folder: Path) -> Workspace:
    """The state of a folder that is served, or that will be."""
    from assay.project.workspace import Workspace

    return Workspace(folder)


def confirm(question: str, unasked: UsageError) -> None:
    """Ask a person; the answer no ends the command.

    Raises:
        UsageError: `unasked`, where nobody is there to answer.
    """
    if not sys.stdin.isatty():
        raise unasked
    typer.confirm(question, default=False, abort=True, err=True)


def ask_consent(act: Callable[[list[str]], T], given: Sequence[str] | None) -> T:
    """Do something with the providers that are agreed to; ask about each further one.

    Raises:
        ConsentError: nobody was there to ask, or the answer was no.
    """
    from assay.agent.consent import ConsentError

    agreed = list(given or ())
    while True:
        try:
            return act(agreed)
        except ConsentError as error:
            if not sys.stdin.isatty():
                raise
            print(f"assay: {error.what}", file=sys.stderr)
            if not typer.confirm(f"Send them to {error.provider}?", default=False, err=True):
                raise
            agreed.append(error.provider)
