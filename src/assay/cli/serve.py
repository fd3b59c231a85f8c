"""`assay serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from assay.accounts.quota import QUOTA_GB
from assay.config import Vllm
from assay.errors import UsageError


def serve(
    folder: Annotated[Path, typer.Option(help="a project, or any folder")] = Path("."),
    host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    tls_cert: Annotated[Path | None, typer.Option(help="certificate, PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="its private key, PEM")] = None,
    insecure_http: Annotated[
        bool, typer.Option("--insecure-http", help="plain HTTP beyond this machine")
    ] = False,
    project_quota: Annotated[
        float, typer.Option(min=0.001, help="GB of this disk that each project may take")
    ] = QUOTA_GB,
    vllm_url: Annotated[
        str | None, typer.Option(help="a vLLM server that answers; a project's: in assay.yaml")
    ] = None,
    vllm_key_env: Annotated[
        str | None, typer.Option(help="the variable that holds that server's key")
    ] = None,
) -> None:
    """Answer over HTTP in OpenAI's wire format, and show the studio in a browser."""
    from assay.project.workspace import open_to_serve
    from assay.serve.server import serve as run
    from assay.studio.app import Studio

    workspace = open_to_serve(folder, _vllm(vllm_url, vllm_key_env), project_quota)
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


def _vllm(url: str | None, key_env: str | None) -> Vllm | None:
    if url is None:
        if key_env is not None:
            raise UsageError("--vllm-key-env belongs to --vllm-url.", fix="Give both.")
        return None
    try:
        return Vllm(base_url=url, key_env=key_env)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"--vllm-url is {url!r}: {said}.") from None
