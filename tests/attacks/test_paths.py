"""What is written over the web must not name another's files, nor those of the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from assay.agent.agent import Agent
from assay.agent.texts import as_yaml
from assay.config.yaml_text import edit
from assay.errors import AssayError, DataError
from assay.project import agents, models, settings
from assay.project.agents import drafts
from assay.project.settings import InvalidSettingsError
from assay.project.workspace import Workspace
from assay.store import stored_files

LABELS = {"name": "label-accuracy"}
ASSAY_YAML = """\
name: support
task: label
labels: [a, b]
model: smollm2-135m-instruct
data: {file: data.csv}
graders:
  - name: label-accuracy
primary: label-accuracy
candidates: [prompt]
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A served project with another project's upload in its state, and a secret beside it."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))  # refusals say what models it holds
    (tmp_path / "secret.csv").write_text("text,label\nmine,a\n")
    (tmp_path / "model").mkdir()
    root = tmp_path / "support"
    (root / "data").mkdir(parents=True)
    (root / "data.csv").write_text("text,label\nmine,a\n")
    (root / "assay.yaml").write_text(ASSAY_YAML)
    (root / ".env").write_text("KEY=1")
    (root / "docs").mkdir()
    (root / "docs" / "a.md").write_text("# a")
    (root / "way-out").symlink_to(tmp_path)
    (root / "way-in").symlink_to(root / ".assay")
    (root / "a#b").mkdir()
    (root / "a#b" / "c.csv").symlink_to(tmp_path / "secret.csv")
    (root / "openai.key").write_text("sk-1")
    (root / "code.py").write_text("def grade(answer, reference): return 1.0")
    workspace = Workspace(root)
    upload = stored_files.keep(workspace.store, "other", [b"text,label\nx,a\n"], "x.csv", "evals")
    (root / "data" / "upload.csv").symlink_to(stored_files.path_of(workspace.store, upload.id))
    os.environ["UPLOAD"] = upload.id
    return workspace.act_as("user:ann")


def graders(*others: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"graders": [LABELS, *({"name": n, "settings": given} for n, given in others)]}


FILES = (
    ".assay/files/UPLOAD",
    "data/../.assay/files/UPLOAD",
    "way-in/files/UPLOAD",
    "data/upload.csv",
    "../secret.csv",
    "../secret.csv#/../support/data.csv",
    "data/../../secret.csv",
    "way-out/secret.csv",
    "a#b/c.csv#d",
    "/etc/passwd",
    "~/.ssh/id_rsa",
    "~root/x",
    ".env",
    "assay.yaml",
    "./assay.yaml",
    "data/\0",
)
NO_HUB = ("hf:../x", "hf:.assay/files", "hf:data/upload.csv", "hf:/etc", "hf:csv", "hf:a/b/c")
MODELS = (
    "../model",
    "/srv/model",
    "~/model",
    "~root/model",
    "way-out/model",
    "hf:../model",
    "../model/x.gguf",
    "nobody/unfetched",
    ".assay/versions/x",
    "version:0123456789ab",
    "remote:nobody/model",
)


def refused(workspace: Workspace, values: dict[str, Any], *fields: str) -> None:
    """Neither an editor nor an admin can save any of them, and nothing that they name is read."""
    draft = settings.read(workspace)
    text = edit(draft.text, values)
    problems = settings.validate(workspace, text, admin=False).problems
    assert {*fields} <= {problem.field for problem in problems}, (values, problems)
    with pytest.raises(InvalidSettingsError) as error:
        settings.save(workspace, text, based_on=draft.hash, admin=True)
    assert {*fields} <= {problem.field for problem in error.value.problems}, values
    assert settings.read(workspace).text == draft.text


@pytest.mark.parametrize("file", FILES)
def test_files(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setattr(settings, "Project", None)  # nothing named is read
    file = file.replace("UPLOAD", os.environ["UPLOAD"])
    fields = ["data.file", "data.holdout", "data.validation"]
    values: dict[str, Any] = dict.fromkeys(fields, file)
    if "#" not in file:
        judge = {"model": "smollm2-135m-instruct", "pairs": file}
        values |= {"knowledge": {"paths": ["docs", file]}}
        values |= graders(("terms", {"file": file}), ("judge", judge))
        fields += ["knowledge.paths.1", "graders.1.settings.file", "graders.2.settings.pairs"]
    refused(workspace, values, *fields)


@pytest.mark.parametrize("name", NO_HUB)
def test_names_of_the_hub(workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    refused(workspace, {"data.file": name}, "data.file")
    from assay.data.read import detect

    with pytest.raises(DataError, match="not the name of a data set"):
        detect(name)


@pytest.mark.parametrize("model", MODELS)
def test_models(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    if not model.startswith(("version:", "remote:")):
        refused(workspace, {"model": model}, "model")
    monkeypatch.setattr(settings, "Project", None)
    values = {
        "fine_tune": {"teacher": model},
        "knowledge": {"paths": ["docs"], "rerank": model},
        "prompt_search": {"proposer": model},
        "route": {"cheap": model, "strong": "prompt"},
        "fallback": {model: ["smollm2-135m-instruct"]},
        **graders(("judge", {"model": model})),
    }
    named = ["fine_tune.teacher", "knowledge.rerank", "prompt_search.proposer", "route.cheap"]
    refused(workspace, values, *named, f"fallback.{model}", "graders.1.settings.model")


@pytest.mark.parametrize("model", MODELS)
def test_models_of_agents(workspace: Workspace, model: str) -> None:
    """As text, saved or tried; the same person at the command line may."""
    nearest = {"k": 1, "pool": "0" * 64, "embedder": model}
    knowledge = {"name": "d", "k": 1, "characters": 9, "rerank": model}
    for field, agent in (
        ("model", Agent(model=model)),
        ("nearest.embedder", Agent(model="smollm2-135m-instruct", nearest=nearest)),
        ("knowledge.rerank", Agent(model="smollm2-135m-instruct", knowledge=knowledge)),
    ):
        text = as_yaml(agent)
        assert [p.field for p in agents.check(workspace, text)] == [field]
        assert drafts.validate(workspace, text).problems
        with pytest.raises(AssayError):
            agents.save(workspace, "mine", text, based_on=None, message="x")
    if not model.startswith(("version:", "remote:")):
        with pytest.raises(AssayError):
            models.pull(workspace, model if "/" not in model else f"./{model}")


def test_a_file_that_is_run_is_named_at_the_command_line(workspace: Workspace) -> None:
    refused(workspace, graders(("python", {"file": "code.py"})), "graders.1.settings.file")


def test_a_key_is_no_data(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    at_hand = edit(
        settings.read(workspace).text,
        {"providers": {"far": {"base_url": "https://far.example/v1", "key_file": "openai.key"}}},
    )
    (workspace.root / "assay.yaml").write_text(at_hand)  # at the command line
    monkeypatch.setattr(settings, "Project", None)
    refused(workspace, {"data.file": "openai.key"}, "data.file")
    refused(workspace, {"knowledge": {"paths": ["."]}}, "knowledge.paths.0")


@pytest.mark.parametrize("spelled", ["", "docs/../", "./", "way-home/"])
def test_what_admins_have_fetched_is_no_data(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, spelled: str
) -> None:
    account = workspace.root / "rescued" / "account"
    (account / "files").mkdir(parents=True)
    (account / "files" / "file-1.jsonl").write_text('{"messages": []}')
    (workspace.root / "way-home").symlink_to(workspace.root)
    monkeypatch.setattr(settings, "Project", None)
    for path in ("rescued/account/files/file-1.jsonl", "rescued/account/plan.md#x", "rescued"):
        both = {"data.file": spelled + path, "knowledge": {"paths": [spelled + path]}}
        refused(workspace, both, "data.file", "knowledge.paths.0")
    shutil.rmtree(workspace.root / "rescued")  # and what they will fetch is none
    refused(workspace, {"knowledge": {"paths": [spelled or "."]}}, "knowledge.paths.0")


def test_what_the_command_line_has_named_may_stay(workspace: Workspace) -> None:
    text = edit(settings.read(workspace).text, {"fine_tune": {"teacher": "../model"}})
    (workspace.root / "assay.yaml").write_text(text)
    draft = settings.read(workspace)
    settings.save(workspace, edit(draft.text, {"margin": 0.05}), based_on=draft.hash, admin=False)
    local = Workspace(workspace.root)
    away = as_yaml(Agent(model=str(workspace.root.parent / "model")))
    saved = agents.save(local, "away", away, based_on=None, message="here")
    assert saved.label == "away@1"
    assert agents.check(workspace, edit(away, {"temperature": 0.5})) == []


def test_what_is_inside_may_be_named(workspace: Workspace) -> None:
    text = settings.read(workspace).text
    for values in (
        {"data.holdout": "data.csv"},
        {"data.holdout": "hf:org/name:test"},
        {"knowledge": {"paths": ["docs"], "rerank": "all-minilm-l6-v2"}},
        {"fine_tune": {"teacher": "smollm2-135m-instruct"}},
    ):
        assert settings.validate(workspace, edit(text, values), admin=False).problems == ()


def test_a_folder_of_documents_shows_nothing_hidden(workspace: Workspace) -> None:
    from assay.knowledge.sources import sources

    (workspace.root / "docs" / "link.md").symlink_to(workspace.root / ".env")
    found, failed = sources([workspace.root])
    assert not [one for one in found if ".assay" in str(one.file.resolve())]
    assert not [one for one in found if one.file.resolve().name == ".env"]
    assert len(failed) >= 2
