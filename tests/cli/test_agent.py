"""`assay agent` as a person and a script use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.cli.main import app
from assay.errors import AssayError
from assay.project import agents
from assay.project.workspace import Workspace
from assay.store.store import Store

MODEL = "smollm2-135m-instruct"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's folder in which a comparison has saved one agent."""
    monkeypatch.chdir(tmp_path)
    agent = Agent(model=MODEL, system_prompt="Be short.")
    save_agent(Store(tmp_path / ".assay"), "prompt", agent, message="by compare", author="ann")
    return tmp_path


def assay(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(app, ["agent", *arguments], input=input)


def test_an_agent_is_shown_changed_compared_and_rolled_back(folder: Path) -> None:
    assert "system_prompt: Be short." in assay("show", "prompt").output
    done = assay("edit", "prompt", "--set", "temperature=0.5", "-m", "looser")
    assert done.exit_code == 0, done.output
    assert "Saved prompt@2." in done.output
    found = json.loads(assay("diff", "prompt@1", "prompt", "--json").output)
    assert found["fields"] == {"temperature": [0.0, 0.5]}
    assert "- 0.0" in assay("diff", "prompt@1", "prompt@2").output
    assert assay("rollback", "prompt").exit_code == 0
    history = json.loads(assay("history", "prompt", "--json").output)
    assert [(v["label"], v["message"]) for v in history] == [
        ("prompt@3", "back to version 1"),
        ("prompt@2", "looser"),
        ("prompt@1", "by compare"),
    ]
    assert json.loads(assay("history", "--json").output) == history
    assert set(history[0]) == {"name", "version", "label", "id", "author", "message", "at"}
    assert [v["label"] for v in json.loads(assay("list", "--json").output)] == ["prompt@3"]
    assert "prompt@3" in assay("list").output


def test_a_whole_text_comes_from_a_file_or_from_stdin(folder: Path) -> None:
    (folder / "new.yaml").write_text(f"model: {MODEL}  # small\n", encoding="utf-8")
    assert assay("edit", "desk", "--file", "new.yaml").exit_code == 0
    assert assay("show", "desk").output == f"model: {MODEL}  # small\n"
    assert assay("edit", "desk", "--file", "-", input=f"model: {MODEL}\n").exit_code == 0
    assert "nothing was saved" in assay("edit", "desk", "--set", f"model={MODEL}").output


def test_a_script_that_read_an_older_text_is_refused(folder: Path) -> None:
    read = json.loads(assay("show", "prompt", "--json").output)
    assert read["agent"]["system_prompt"] == "Be short."
    assert assay("edit", "prompt", "--set", "seed=1").exit_code == 0
    done = assay("edit", "prompt", "--set", "seed=2", "--based-on", read["hash"])
    assert isinstance(done.exception, agents.StaleEditError)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nobody"), "There are: prompt"),
        (("edit", "nobody", "--set", "seed=1"), "There are: prompt"),
        (("edit", "prompt", "--set", "seed"), "is not of the form SETTING=VALUE"),
        (("edit", "prompt", "--set", "sed=1"), "sed: there is no such setting"),
        (("edit", "prompt", "--set", "seed=1", "--file", "x"), "cannot be used together"),
        (("edit", "prompt", "--file", "nothing.yaml"), "cannot be read"),
        (("edit", "prompt@1", "--set", "seed=1"), "cannot be changed"),
        (("edit", "prompt"), "in a terminal"),
        (("rollback", "prompt"), "only one version"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = assay(*arguments)
    assert isinstance(done.exception, AssayError)
    assert said in str(done.exception)
    assert len(agents.history(Workspace(folder))) == 1


def test_an_editor_is_opened_until_the_text_is_an_agent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [f"model: {MODEL}\nwhat: 1\n", f"model: {MODEL}\n# mine\n"]

    def edit(filename: str) -> None:
        Path(filename).write_text(written.pop(0), encoding="utf-8")

    monkeypatch.setattr("click.edit", edit)
    monkeypatch.setattr("assay.cli.agent._at_a_terminal", lambda: True)
    done = assay("edit", "prompt", "--json", input="y\n")
    assert "line 2: what: there is no such setting." in done.stderr
    assert "Edit again?" in done.stderr
    saved = json.loads(done.stdout.partition("\n")[2])  # behind what was typed
    written.append(f"model: {MODEL}\n# mine\n")
    again = json.loads(assay("edit", "prompt", "--json").stdout)  # nothing was changed
    assert again["label"] == saved["label"] == "prompt@2"
    assert assay("show", "prompt").output == f"model: {MODEL}\n# mine\n"
