"""`assay serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    folder: Annotated[Path, typer.Option(help="a project, or any folder")] = Path("."),
    host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    tls_cert: Annotated[Path | None, typer.Option(help="certificate, PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="its private key, PEM")] = None,
    insecure_http: Annotated[
        bool, typer.Option("--insecure-http", help="plain HTTP beyond this machine")
    ] = False,
) -> None:
    """Answer over HTTP in OpenAI's wire format, and show the studio in a browser."""
    from assay.project.workspace import open_to_serve
    from assay.serve.server import serve as run
    from assay.studio import Studio

    workspace = open_to_serve(folder)
    engines = workspace.engines()
    run(
        workspace,
        engines,
        lambda line: print(line, flush=True),
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        insecure_http=insecure_http,
        pages=Studio(workspace, engines),
    )
