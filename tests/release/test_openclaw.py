"""OpenClaw's configuration: its field names, where the prompt goes, what is warned of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.cli.main import app
from assay.errors import ModelError, UsageError
from assay.project.releases.openclaw import export_openclaw
from assay.project.workspace import Workspace
from assay.release import changes
from assay.release.openclaw import openclaw
from assay.release.releases import ReleaseError

WHERE = Path("/srv/claw/workspace")


def made(agent: Agent, context: int | None = 32_000):
    return openclaw(
        "desk", agent, base_url="http://127.0.0.1:8000/v1", context=context, workspace=WHERE
    )


def test_provider_and_workspace_are_as_openclaw_reads_them() -> None:
    found = made(Agent(model="m", system_prompt="Be short.", max_new_tokens=64))
    (provider,) = found.config["models"]["providers"].values()
    (model,) = provider["models"]
    assert set(provider) == {"baseUrl", "apiKey", "api", "models"}
    assert provider["api"] == "openai-completions"
    assert provider["apiKey"] == "${ASSAY_API_KEY}"
    assert model == {
        "id": "desk",
        "name": "desk (Assay)",
        "reasoning": False,
        "input": ["text"],
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        "contextWindow": 32_000,
        "maxTokens": 64,
        "compat": {"supportsUsageInStreaming": True},
    }
    defaults = found.config["agents"]["defaults"]
    assert defaults == {"workspace": str(WHERE), "model": {"primary": "assay/desk"}}
    assert found.files == {"AGENTS.md": "Be short.\n"}
    assert len(found.warnings) == 1
    assert "needs a cost, which is written as 0" in found.warnings[0]


@pytest.mark.parametrize(
    ("agent", "context", "said"),
    [
        (Agent(model="m", system_prompt="x" * 20_001), 32_000, "cuts a file at 20,000"),
        (Agent(model="m", system_prompt="x" * 60_001), 32_000, "reads 60,000 in total"),
        (Agent(model="m"), 8192, "needs at least 16,000"),
        (Agent(model="remote:a/b"), None, "contextWindow is left out"),
        (Agent(model="m", choices=("a",), constrained=True), 32_000, "cannot call OpenClaw"),
        (Agent(model="m", constrained=True), 32_000, "may be too long for that (65,536 char"),
    ],
)
def test_what_will_not_be_as_it_was_measured_is_said(
    agent: Agent, context: int | None, said: str
) -> None:
    found = made(agent, context)
    assert any(said in warning for warning in found.warnings)
    (model,) = found.config["models"]["providers"]["assay"]["models"]
    assert ("contextWindow" in model) == (context is not None)


def test_a_prompt_within_the_limits_is_no_matter() -> None:
    assert len(made(Agent(model="m", system_prompt="x" * 19_999)).warnings) == 1


def test_a_classical_model_is_refused() -> None:
    with pytest.raises(ModelError, match="needs a language model"):
        made(Agent(kind="classical", model="classical:x"))


def test_the_command_writes_all_of_it_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path)
    saved = save_agent(
        workspace.store, "prompt", Agent(model="remote:a/b", system_prompt="Hi."), message="m"
    )
    changes.promote(workspace.store, workspace.name, "desk", saved.label, who="ann", force="a test")
    done = CliRunner().invoke(app, ["export", "desk", "--to", "openclaw", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["agent"] == "prompt@1"
    assert told["files"] == ["openclaw.json", "workspace/AGENTS.md"]
    written = json.loads((tmp_path / "desk-openclaw" / "openclaw.json").read_text())
    home = Path(written["agents"]["defaults"]["workspace"])
    assert (home / "AGENTS.md").read_text() == "Hi.\n"
    with pytest.raises(UsageError, match="already exists"):
        export_openclaw(workspace, "desk", base_url="http://127.0.0.1:8000/v1")
    with pytest.raises(UsageError, match="is not a URL"):
        export_openclaw(workspace, "desk", tmp_path / "x", base_url="localhost:8000")
    with pytest.raises(ReleaseError, match="no release"):
        export_openclaw(workspace, "other", tmp_path / "x", base_url="http://h/v1")
    assert not (tmp_path / "x").exists()
