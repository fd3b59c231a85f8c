"""`assay train`: one version, or a search for the settings that train best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import AsJson, Folder
from assay.cli.output import as_json, print_swept
from assay.cli.place import PlaceOption, WorkersOption, set_place
from assay.cli.progress import Terminal
from assay.cli.trained import print_trained
from assay.defaults import MOST_PROCESSES
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
    on: PlaceOption = None,
    workers: WorkersOption = None,
    ranks: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_PROCESSES,
            help="On Ray: processes that share the rows of each step. Default: `place`; where that "
            "has no Ray, 2, and 1 with --sweep.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print a line for every step and evaluation.")
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="With fine_tune.graded_rows or reinforcement: run the project's own grader.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Train a version as `compare` does; run it again to continue a stopped training."""
    from assay import project

    if not sweep and (trials is not None or write or workers is not None):
        raise UsageError("--trials, --write and --workers need --sweep.", fix="Add --sweep.")
    for option, given in (("--verbose", verbose), ("--trust-code", trust_code)):
        if sweep and given:
            raise UsageError(f"{option} cannot be used with --sweep.", fix="Remove one of them.")
    opened = project.open(folder)
    own = opened.config.place
    if on == "ray" and own.on == "here" and own.ranks == 1 and ranks is None and not sweep:
        ranks = 2  # one training is all there is to share
    set_place(opened, on, workers=workers, ranks=ranks)
    if sweep:
        swept = opened.sweep(trials=trials, write=write, progress=Terminal())
        as_json(swept) if json else print_swept(swept)
        return
    terminal = Terminal()
    each = (lambda report: terminal.say(report.describe())) if verbose else None
    trained = opened.train(terminal, on_step=each, trust_code=trust_code)
    as_json(trained) if json else print_trained(trained)
