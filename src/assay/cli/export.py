"""`assay export`: a version, a classifier or a release, as files that other programs use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.options import AsJson, Folder, confirm, open_workspace
from assay.cli.output import as_json, print_exported
from assay.cli.progress import Terminal
from assay.errors import UsageError
from assay.log_lines import printable
from assay.release.forms import FORMS

if TYPE_CHECKING:
    from assay.release.classifier_export import ClassifierExport
    from assay.release.export import ModelExport


def export(
    name: Annotated[
        str,
        typer.Argument(
            help="Id of a version or its beginning; for onnx, an agent (NAME@VERSION) or a "
            "release; for openclaw, a release."
        ),
    ],
    to: Annotated[
        str,
        typer.Option(help=f"{', '.join(FORMS)}, hub or openclaw."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The folder to write. Default: NAME-FORM in the current folder."),
    ] = None,
    base_url: Annotated[
        str, typer.Option(help="For openclaw: the URL at which `assay serve` is reached.")
    ] = "http://127.0.0.1:8000/v1",
    licence: Annotated[
        str | None,
        typer.Option(
            help="For hub: the base's licence, where you have to agree to it; the card states it."
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="For hub: send the folder to this repository of the hub that HF_ENDPOINT names, "
            "with the token of HF_TOKEN or `hf auth login`.",
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="With --push: let everybody read it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --push: send without asking.")] = False,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Export a version for another program, once a check shows that it answers as evaluated.

    With --to onnx: export a classifier over an embedder (candidates `classifier`, `encoder`,
    `encoder-pairs`).
    With --to hub: write a folder for a model hub, with a model card; only --push sends it.
    With --to openclaw: write the configuration with which OpenClaw uses a release of this server.
    """
    if (push or public or yes) and not (push and to == "hub"):
        raise UsageError(
            "only an export to a hub is sent.", fix="Give --to hub and --push OWNER/NAME, or none."
        )
    if push:
        _push(folder, name, push, out, licence, public, yes, json)
        return
    if to == "openclaw":
        _openclaw(folder, name, out, base_url, json)
        return
    from assay.project.jobs.export import export_from, export_hub_from

    done: ModelExport | ClassifierExport
    if to == "hub":
        done = export_hub_from(folder, name, out, licence, Terminal())
    else:
        done = export_from(folder, name, to, out, Terminal())
    if json:
        as_json(done)
    else:
        print_exported(done)
    if to == "hub" and not json:
        print(f"To put it on a hub: hf upload ORG/NAME {done.folder}")
        print("or the same command with --push ORG/NAME.")


def _push(
    folder: Path,
    name: str,
    repository: str,
    out: Path | None,
    licence: str | None,
    public: bool,
    yes: bool,
    json: bool,
) -> None:
    from assay.project.jobs.export import check_push_from, push_hub_from

    address = check_push_from(folder, name, repository, out, public)
    readers = "everybody can read it" if public else "private"
    print(
        f"This sends version {name} to {printable(address)} ({readers}): weights, tokenizer, and a "
        "card with licence and scores. Weights can repeat what they were trained on.",
        file=sys.stderr,
    )
    if not yes:
        unasked = UsageError(
            "without a terminal nobody can confirm this.", fix="To send without asking, give --yes."
        )
        confirm("Send it?", unasked)
    done = push_hub_from(folder, name, repository, out, licence, public, Terminal())
    if json:
        as_json(done)
        return
    if done.exported is not None:
        print_exported(done.exported)
    print(f"Sent: {printable(done.url)} ({readers})")


def _openclaw(folder: Path, release: str, out: Path | None, base_url: str, json: bool) -> None:
    from assay.project.releases.openclaw import export_openclaw

    done = export_openclaw(open_workspace(folder), release, out, base_url=base_url)
    if json:
        as_json(done)
        return
    files = ", ".join(str(done.folder / file) for file in done.files)
    for warning in done.warnings:
        print(f"Warning: {warning}")
    print(f"Files for agent {done.agent}: {files}")
    print("Merge openclaw.json into ~/.openclaw/openclaw.json and set ASSAY_API_KEY to a key of")
    print("`assay keys create`.")
