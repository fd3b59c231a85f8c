"""`assay train`: one version, or a search for the settings that train best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.options import AsJson, Folder
from assay.cli.output import as_json, print_swept, print_trained
from assay.cli.progress import Terminal
from assay.defaults import MOST_RANKS
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.config import Place


def train(
    folder: Folder = Path("."),
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Search for better settings by validation loss.")
    ] = False,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --sweep: settings to try, including earlier runs. Default: 12."
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="With --sweep: write the best settings to assay.yaml.")
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--on", help="Where to train: here or ray. Default: `place` in assay.yaml, else here."
        ),
    ] = None,
    ranks: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=MOST_RANKS,
            help="On Ray: processes that share the rows of each step. Default: 2.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Train a version as `compare` does; run it again to continue a stopped training."""
    from assay import project

    if not sweep and (trials is not None or write):
        raise UsageError("--trials and --write need --sweep.", fix="Add --sweep.")
    opened = project.open(folder)
    opened.config = opened.config.model_copy(
        update={"place": _place(opened.config.place, on, ranks)}
    )
    if sweep:
        swept = opened.sweep(trials=trials, write=write, progress=Terminal())
        as_json(swept) if json else print_swept(swept)
        return
    trained = opened.train(progress=Terminal())
    as_json(trained) if json else print_trained(trained)


def _place(own: Place, on: str | None, ranks: int | None) -> Place:
    """The project's place with what the options say."""
    if on not in (None, "here", "ray"):
        raise UsageError(f"--on is {on!r}.", fix="Use here or ray.")
    changed = {} if on is None else {"on": on}
    place = own.model_copy(update=changed | ({} if ranks is None else {"ranks": ranks}))
    if ranks is not None and place.on == "here":
        raise UsageError("--ranks needs Ray.", fix="Add --on ray.")
    return place
