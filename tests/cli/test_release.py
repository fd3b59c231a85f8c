"""`assay versions`, `release`, `traces`, `watch`, `backup` and `restore` as scripts see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.command import run, sentence
from tests.release.shelf import compared, right, shelf
from typer.testing import CliRunner

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.cli.main import app
from assay.errors import AssayError
from assay.project.workspace import Workspace
from assay.store.audit import entries


def ask(folder: Path, *words: str) -> str:
    """What a command prints; in this process, since starting one takes longer than the command."""
    done = CliRunner().invoke(app, [*words, "--project", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(folder: Path, code: int, *words: str) -> str:
    """The sentence a command ends with."""
    with pytest.raises(AssayError) as error:
        ask(folder, *words)
    assert error.value.exit_code == code
    return str(error.value)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder with state and no project, as a server leaves it."""
    folder = tmp_path / "served"
    store, (a, b, _) = shelf(folder / ".assay")
    compared(store, {a: right(0.5), b: right(0.9)})
    store.engine.dispose()
    return folder


def test_a_release_from_promotion_to_rollback(served: Path) -> None:
    assert "is worse" in refused(served, 1, "release", "promote", "pets", "tuned@1")
    assert "pets now serves tuned@2" in ask(served, "release", "promote", "pets", "tuned@2")
    made = json.loads(
        ask(served, "release", "canary", "pets", "10%", "tuned@3", "--force", "a trial", "--json")
    )
    assert (made["share"], made["canary"], made["reason"]) == (0.1, "tuned@3", "a trial")
    assert "to 25 % of the callers" in ask(served, "release", "canary", "pets", "25%")
    assert "serves tuned@2 again" in ask(served, "release", "rollback", "pets")
    actions = [c["action"] for c in json.loads(ask(served, "release", "history", "pets", "--json"))]
    assert actions == ["rollback", "canary", "canary", "promote"]
    told = ask(served, "release", "history", "pets")  # where columns are narrow, words stand apart
    assert {"forced:", "trial"} <= {*told.split()}
    assert "tuned@2" in ask(served, "release", "list")
    watched = json.loads(ask(served, "watch", "pets", "--json"))
    assert (watched["outcome"], watched["labels"]) == ("open", 0)
    assert watched["needed"] > 0
    assert "judged answers will show whether" in ask(served, "watch", "pets")
    kept = " ".join(ask(served, "traces", "on", "pets").split())
    assert "kept for 30 days" in kept
    needed, requests = watched["needed"], 10 * watched["needed"]  # a tenth is drawn
    assert f"needs about {needed:,} labels" in kept
    assert f"about {requests:,} requests" in kept
    assert "no traces yet" in ask(served, "traces", "list")
    assert "All traces of the sample are labelled" in ask(served, "traces", "next", "pets")
    assert "0 traces deleted" in ask(served, "traces", "off", "pets", "--delete")
    assert "no versions" in ask(served, "versions", "list")


def test_wrong_turns_end_in_sentences(served: Path, tmp_path: Path) -> None:
    assert "no release" in refused(served, 1, "release", "history", "pets")
    assert "not a share" in refused(served, 2, "release", "canary", "pets", "ten")
    assert "no release" in refused(served, 1, "watch", "pets")
    assert "no trace" in refused(served, 1, "traces", "show", "trace-1")
    assert "up or down" in refused(served, 2, "traces", "feedback", "t", "--thumb", "x")
    many = CliRunner().invoke(app, ["traces", "list", "-n", "9" * 20, "--project", str(served)])
    assert many.exit_code == 2
    assert "no version" in refused(served, 1, "versions", "show", "abcdef")
    assert "no project here" in sentence(run("release", "list", cwd=tmp_path), 2)
    assert not (tmp_path / ".assay").exists()


def test_backup_and_restore(served: Path, tmp_path: Path) -> None:
    ask(served, "release", "promote", "pets", "tuned@2")
    file = tmp_path / "monday.tar"
    done = json.loads(ask(served, "backup", str(file), "--json"))
    assert done["files"] >= 1
    assert "does not replace" in refused(served, 2, "restore", str(file))
    other = tmp_path / "other"
    assert "1 file of " in ask(other, "restore", str(file))
    listed = json.loads(ask(other, "release", "list", "--json"))
    assert [r["agent"] for r in listed] == ["tuned@2"]
    file.write_bytes(file.read_bytes()[:-20000])
    target = str(tmp_path / "third")
    assert "not a complete backup" in sentence(run("restore", str(file), "--project", target), 1)


def test_requests_leave_with_consent_alone(served: Path) -> None:
    workspace = Workspace(served)
    workspace.providers.add("far", {"base_url": "https://far.example.com/v1"}, None)
    save_agent(workspace.store, "away", Agent(model="remote:far/big"), message="made for a test")
    promote = ("release", "promote", "desk", "away@1", "--force", "a test")
    said = refused(served, 1, *promote)
    assert "would send them to the provider far" in said
    assert "--consent far" in said
    assert json.loads(ask(served, "release", "list", "--json")) == []
    assert "desk now serves away@1" in ask(served, *promote, "--consent", "far")
    actions = [entry.action for entry in entries(workspace.store, workspace.name)]
    assert {"provider.consent", "release.sends_away"} <= set(actions)
