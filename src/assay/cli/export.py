"""`assay export`: a version as files that other programs serve."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import as_json, print_exported
from assay.cli.progress import Terminal


def export(
    version: Annotated[str, typer.Argument(help="id of a version, or its first digits")],
    to: Annotated[str, typer.Option(help="adapter, merged, gguf, ollama or vllm")],
    out: Annotated[
        Path | None, typer.Option(help="the folder to write; default: VERSION-FORM here")
    ] = None,
    folder: Annotated[Path, typer.Option("--project", help="the project's folder")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> None:
    """Write a version for another program, if it answers there as it was evaluated."""
    from assay.project.export import export_from

    done = export_from(folder, version, to, out, Terminal())
    if json:
        as_json({**asdict(done), "folder": str(done.folder)})
    else:
        print_exported(done)
