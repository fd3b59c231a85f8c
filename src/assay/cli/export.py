"""`assay export`: a version, a classifier or a release, as files that other programs use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import AsJson, Folder, open_workspace
from assay.cli.output import as_json, print_exported
from assay.cli.progress import Terminal


def export(
    name: Annotated[
        str,
        typer.Argument(
            help="id of a version, or its first digits; for onnx an agent (NAME@VERSION) or a "
            "release, for openclaw a release"
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="adapter, merged, gguf, gguf-8bit, gguf-4bit, ollama, vllm, onnx or openclaw"
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="the folder to write; default: NAME-FORM here")
    ] = None,
    base_url: Annotated[
        str, typer.Option(help="for openclaw: where `assay serve` will be reached")
    ] = "http://127.0.0.1:8000/v1",
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Write a version for another program, if it answers there as it was evaluated.

    With --to onnx: a classifier over an embedder, as `classifier` and `encoder` make them.
    With --to openclaw: the configuration by which OpenClaw asks a release of this server.
    """
    if to == "openclaw":
        _openclaw(folder, name, out, base_url, json)
        return
    from assay.project.jobs.export import export_from

    done = export_from(folder, name, to, out, Terminal())
    if json:
        as_json(done)
    else:
        print_exported(done)


def _openclaw(folder: Path, release: str, out: Path | None, base_url: str, json: bool) -> None:
    from assay.project.releases.openclaw import export_openclaw

    done = export_openclaw(open_workspace(folder), release, out, base_url=base_url)
    if json:
        as_json(done)
        return
    for warning in done.warnings:
        print(f"Mind: {warning}")
    print(f"Written for {done.agent}: {', '.join(str(done.folder / file) for file in done.files)}")
    print("Merge openclaw.json into ~/.openclaw/openclaw.json and set ASSAY_API_KEY to a key of")
    print("`assay keys create`.")
