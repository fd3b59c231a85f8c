"""`assay train`: one version, or a search for the settings that train best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import AsJson, Folder
from assay.cli.output import as_json, print_swept, print_trained
from assay.cli.progress import Terminal
from assay.errors import UsageError


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
    json: AsJson = False,
) -> None:
    """Train a version as `compare` does; run it again to continue a stopped training."""
    from assay import project

    if not sweep and (trials is not None or write):
        raise UsageError("--trials and --write need --sweep.", fix="Add --sweep.")
    opened = project.open(folder)
    if sweep:
        swept = opened.sweep(trials=trials, write=write, progress=Terminal())
        as_json(swept) if json else print_swept(swept)
        return
    trained = opened.train(progress=Terminal())
    as_json(trained) if json else print_trained(trained)
