"""Options that say where a command works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from assay.defaults import MOST_PROCESSES
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.config import Place
    from assay.project.project import Project
    from assay.project.workspace import Workspace

PlaceOption = Annotated[
    str | None,
    typer.Option(
        "--on", help="Where to work: here or ray. Default: `place` in assay.yaml, else here."
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=MOST_PROCESSES,
        help="On Ray: how many trainings, batches of requests, or parts of documents, at once. "
        "Default: `place`, else 2.",
    ),
]


def set_place(
    opened: Project, on: str | None, *, workers: int | None = None, ranks: int | None = None
) -> None:
    """Let a project work where the options say, see `choose_place`."""
    place = choose_place(opened.config.place, on, workers=workers, ranks=ranks)
    opened.config = opened.config.model_copy(update={"place": place})


def place_of(workspace: Workspace, on: str | None, workers: int | None) -> Place:
    """Where work of a folder is done: as the options say, else assay.yaml where there is one."""
    from assay.config import Place

    config = workspace.config
    return choose_place(Place() if config is None else config.place, on, workers=workers)


def choose_place(
    place: Place, on: str | None, *, workers: int | None = None, ranks: int | None = None
) -> Place:
    """The place that the options say; workers take the place of its ranks.

    Raises:
        UsageError: there is no such place, it has one process alone, or both numbers are given.
    """
    if workers is not None:
        if ranks is not None:
            raise UsageError(
                "--workers and --ranks cannot be used together.",
                fix="Use --workers for several trainings at once, --ranks to share each of them.",
            )
        ranks = 1
    if on not in (None, "here", "ray"):
        raise UsageError(f"--on is {on!r}.", fix="Use here or ray.")
    given = {"on": on, "workers": workers, "ranks": ranks}
    chosen = place.model_copy(update={name: one for name, one in given.items() if one is not None})
    if ranks is not None and chosen.on == "here":
        option = "--ranks" if workers is None else "--workers"
        raise UsageError(f"{option} needs Ray.", fix="Add --on ray.")
    return chosen
