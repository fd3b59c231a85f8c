"""`assay serve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.defaults import BATCH_REQUESTS, QUOTA_GB, STORE_RESPONSES, StoreResponses
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.config import Vllm


def serve(
    folder: Annotated[Path, typer.Option(help="A project's folder, or any folder.")] = Path("."),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 8000,
    tls_cert: Annotated[Path | None, typer.Option(help="TLS certificate (PEM).")] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Private key of the certificate (PEM).")
    ] = None,
    insecure_http: Annotated[
        bool, typer.Option("--insecure-http", help="Allow plain HTTP from other machines.")
    ] = False,
    project_quota: Annotated[
        float, typer.Option(min=0.001, help="Disk space that each project may use, in GB.")
    ] = QUOTA_GB,
    batch_requests: Annotated[
        int,
        typer.Option(min=1, max=1024, help="Requests of batches answered at the same time."),
    ] = BATCH_REQUESTS,
    store_responses: Annotated[
        StoreResponses,
        typer.Option(
            help="Which responses of /v1/responses are kept for 30 days: those whose request says "
            "store: true, all whose request does not say store: false, or none.",
        ),
    ] = STORE_RESPONSES,
    train: Annotated[
        bool,
        typer.Option(
            "--train/--no-train",
            help="Do fine-tuning jobs, or leave them to other workers (`assay worker`).",
        ),
    ] = True,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Run Python criteria of evals that keys with the scope admin create, in a process "
            "without files, network or keys (Linux 6.2 or later on x86-64).",
        ),
    ] = False,
    vllm_url: Annotated[
        str | None,
        typer.Option(help="URL of a vLLM server that answers. In a project, set it in assay.yaml."),
    ] = None,
    vllm_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key of the vLLM server.")
    ] = None,
) -> None:
    """Serve the OpenAI-compatible API and the studio in the browser."""
    from assay.project.state import check_bucket
    from assay.project.workspace import open_to_serve
    from assay.serve.server import end_process
    from assay.serve.server import serve as run
    from assay.studio.app import Studio

    workspace = open_to_serve(folder, _vllm(vllm_url, vllm_key_env), project_quota)
    check_bucket(workspace.store, lambda line: print(f"assay: {line}", file=sys.stderr))
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
        batch_requests=batch_requests,
        store_responses=store_responses,
        trains=train,
        trust_code=trust_code,
        end=end_process,
    )


def _vllm(url: str | None, key_env: str | None) -> Vllm | None:
    from pydantic import ValidationError

    from assay.config import Vllm

    if url is None:
        if key_env is not None:
            raise UsageError("--vllm-key-env needs --vllm-url.", fix="Give both.")
        return None
    try:
        return Vllm(base_url=url, key_env=key_env)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"--vllm-url is {url!r}: {said}.") from None
