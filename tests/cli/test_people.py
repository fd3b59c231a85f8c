"""`assay people` as administrators see it."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from assay.cli.main import app
from assay.project.workspace import Workspace
from assay.studio.app import Studio


def people(folder: Path, *words: str) -> str:
    command = ["people", *words, "--folder", str(folder)]
    return CliRunner().invoke(app, command, catch_exceptions=False).stdout


def test_links_lead_to_where_the_server_listens(tmp_path: Path) -> None:
    before = people(tmp_path, "add", "ann", "--role", "editor")
    assert "http://127.0.0.1:8000/studio/" in before
    workspace = Workspace(tmp_path)
    welcome = Studio(workspace, None).welcome("https://127.0.0.1:9123")  # type: ignore[arg-type]
    assert "https://127.0.0.1:9123/studio/" in welcome
    assert people(tmp_path, "link", "ann").startswith("https://127.0.0.1:9123/studio/")
    elsewhere = people(tmp_path, "link", "ann", "--address", "https://assay.example/")
    assert elsewhere.startswith("https://assay.example/studio/")
