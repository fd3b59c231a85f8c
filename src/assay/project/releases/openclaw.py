"""`assay export RELEASE --to openclaw`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from assay.agent.agent import Agent
from assay.agent.versions import load_agent
from assay.config import is_remote
from assay.errors import UsageError
from assay.project.workspace import Workspace
from assay.release import openclaw, releases
from assay.store.files import new_folder, write_json


@dataclass(frozen=True, slots=True)
class OpenClawFiles:
    """Files for OpenClaw.

    Attributes:
        agent: that the release points at, `NAME@VERSION`.
        warnings: what will not be as it was measured.
    """

    release: str
    agent: str
    folder: Path
    files: tuple[str, ...]
    warnings: tuple[str, ...]


def export_openclaw(
    workspace: Workspace, name: str, out: Path | None = None, *, base_url: str
) -> OpenClawFiles:
    """Write a release's provider and workspace for OpenClaw; all of it, or nothing.

    Args:
        out: the folder; None: `NAME-openclaw` in the current one.
        base_url: of the server that answers, up to and with /v1.

    Raises:
        ReleaseError: there is no such release.
        UsageError: the folder is there already, or the address is none.
        ModelError: the agent is no language model, or its model is not there.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--base-url {base_url!r} is not a URL.", fix="Write http://127.0.0.1:8000/v1."
        )
    release = releases.current(workspace.store, workspace.name, name)
    agent = load_agent(workspace.store, release.agent)
    target = out or Path(f"{name}-openclaw")
    if target.exists():
        raise UsageError("the folder already exists.", where=str(target), fix="Give --out.")
    made = openclaw.openclaw(
        name,
        agent,
        base_url=base_url.rstrip("/"),
        context=_context(workspace, agent),
        workspace=target.resolve() / openclaw.WORKSPACE,
    )
    with new_folder(target) as folder:
        write_json(folder / openclaw.CONFIG, made.config)
        (folder / openclaw.WORKSPACE).mkdir()
        for file, text in made.files.items():
            (folder / openclaw.WORKSPACE / file).write_text(text, encoding="utf-8")
    files = (openclaw.CONFIG, *(f"{openclaw.WORKSPACE}/{file}" for file in made.files))
    return OpenClawFiles(name, release.label, target, files, made.warnings)


def _context(workspace: Workspace, agent: Agent) -> int | None:
    """Tokens that the model of a chat agent can read; None for one at a provider."""
    if agent.kind != "chat" or is_remote(agent.model):
        return None
    from assay.models.load import load_tokenizer
    from assay.models.versions import base_of

    return load_tokenizer(base_of(workspace.store, agent.model))[1]
