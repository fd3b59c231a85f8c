"""A version leaves in every form, through the gate, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from gguf import GGUFReader
from tests.chat import families
from tests.generate.tiny import byte_tokenizer
from tests.models.hub_uploads import WRITER
from tests.models.local_hub import local_hub, use
from tests.small import small_project
from typer.testing import CliRunner

from assay.chat.template import Template
from assay.cli.main import app
from assay.errors import ModelError, UsageError
from assay.example import Message, ToolCall
from assay.models.load import load
from assay.project import Project
from assay.release import export as exporting
from assay.release.forms import VersionForm
from assay.release.ollama import turns_of
from assay.store.audit import entries

pytestmark = pytest.mark.slow

TALKS = [
    [Message("user", "Where is it?")],
    [Message("system", "Be brief."), Message("user", "Where is it?")],
    [
        Message("system", "Be brief."),
        Message("user", "Where?"),
        Message("assistant", "Here."),
        Message("user", "And now?\nTell me."),
    ],
]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp's threads spin; two of them on busy cores take seconds for what takes one none."""
    monkeypatch.setattr("assay.generate.llamacpp.server.cores", lambda: 1)


@pytest.mark.parametrize("name", sorted(families.FAMILIES))
def test_what_ollama_would_write_is_the_template_or_nothing(name: str) -> None:
    template = Template.of(families.tokenizer_of(name))
    try:
        turns = turns_of(template, None)
    except ModelError:
        assert name not in ("chatml", "gemma")
        return
    found = turns.modelfile("model.gguf", ["<end>"], 100)
    assert found.startswith('FROM ./model.gguf\nTEMPLATE """')
    if name in ("chatml", "gemma", "llama3"):
        for talk in TALKS:
            assert turns.write(talk) == template.prompt_text(talk)


def test_a_turn_that_ollama_cannot_write_is_refused() -> None:
    turns = turns_of(Template.of(byte_tokenizer()), None)
    with pytest.raises(ModelError, match="role tool"):
        turns.write([Message("user", "a"), Message("tool", "b")])


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    made = small_project(tmp_path_factory.mktemp("export"), rows=120)
    return made, made.train().version


ASKED = [
    Message("user", "Where is it?"),
    Message("assistant", "", (ToolCall("c", "find", '{"thing": "it"}'),)),
    Message("tool", "here", tool_call_id="c"),
]
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


def template_in(folder: Path) -> str | None:
    """The chat template by which what was written will be asked; None: that of the version."""
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text()
    if not (file := folder / "model.gguf").is_file():
        return None
    return str(GGUFReader(file).fields["tokenizer.chat_template"].contents())


@pytest.mark.parametrize("to", get_args(VersionForm))
def test_a_version_is_written_in_every_form(
    to: str, pets: tuple[Project, str], tmp_path: Path
) -> None:
    project, id = pets
    done = project.export(id, to, tmp_path / "out")
    assert done.parity.evaluated == done.parity.target
    assert done.parity.prompts > 10
    expected = {
        "adapter": {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"},
        "merged": {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"},
        "gguf": {"model.gguf"},
        "gguf-8bit": {"model.gguf"},
        "gguf-4bit": {"model.gguf"},
        "ollama": {"model.gguf", "Modelfile"},
        "vllm": {"adapter_model.safetensors", "serve.sh", "chat_template.jinja"},
    }
    assert expected[to] <= set(done.files) == {f.name for f in (tmp_path / "out").iterdir()}
    if to.startswith("gguf-"):
        held = {str(t.tensor_type) for t in GGUFReader(tmp_path / "out" / "model.gguf").tensors}
        assert {"8" if to == "gguf-8bit" else "2", "0"} <= held  # Q8_0 or Q4_0, and vectors
    if (text := template_in(tmp_path / "out")) is not None:
        template = Template.of(load(project.config.model).tokenizer)
        tokenizer = byte_tokenizer()
        tokenizer.chat_template = text
        written = tokenizer.apply_chat_template(
            [turn.to_dict() for turn in ASKED],
            tools=[TOOL],
            tokenize=False,
            add_generation_prompt=True,
        )
        assert written == template.prompt_text(ASKED, (TOOL,))
        assert '<tool_call>\n{"name": "find"' in written
    else:
        assert to == "adapter"
    if to == "merged":
        load(str(tmp_path / "out"))
    if to == "vllm":
        assert "--enable-lora --max-lora-rank 8" in served(tmp_path / "out")
    with pytest.raises(UsageError, match="not empty"):
        project.export(id, to, tmp_path / "out")


def test_embeddings_that_were_trained_leave_with_the_adapter_or_merged(tmp_path: Path) -> None:
    edit = {"  max_tokens:": "  epochs: 1\n  rank: 2\n  embeddings: train\n  max_tokens:"}
    project = small_project(tmp_path, rows=120, edit=edit)
    id, base = project.train().version, load(project.config.model).model
    whole = (base.get_input_embeddings(), base.get_output_embeddings())
    assert project.sizes().embeddings == sum(layer.weight.numel() for layer in whole)
    for to in ("adapter", "gguf", "vllm"):
        done = project.export(id, to, tmp_path / to)
        assert done.parity.evaluated == done.parity.target
    assert "--enable-lora" not in served(tmp_path / "vllm")  # it takes no adapter with whole layers
    assert (tmp_path / "vllm" / "model.safetensors").is_file()
    kept = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert kept["modules_to_save"]


def served(folder: Path) -> str:
    """What `serve.sh` runs, by which vLLM follows grammars of llguidance whoever asks it first."""
    command = (folder / "serve.sh").read_text().splitlines()[-1]
    assert command.startswith("vllm serve ")
    assert "--structured-outputs-config.backend guidance" in command
    return command


def test_what_the_gate_refuses_leaves_nothing_behind(
    pets: tuple[Project, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, id = pets
    written = exporting.write_merged

    def spoiled(path: Path, version: Any, template: Any, bits: int) -> None:
        import torch

        torch.manual_seed(0)
        plain = exporting.load(version.record.base)
        with torch.no_grad():
            for parameter in plain.model.parameters():
                parameter += 30 * torch.randn(parameter.shape) * parameter.std()
        monkeypatch.setattr("assay.generate.base.merge", lambda *_: plain)
        written(path, version, template, bits)

    monkeypatch.setattr(exporting, "write_merged", spoiled)
    with pytest.raises(ModelError, match="next-token probabilities differ by"):
        project.export(id, "gguf", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="not an export format"):
        project.export(id, "tflite", tmp_path / "out")
    with pytest.raises(ModelError, match="no version"):
        project.export("abcdef01", "gguf", tmp_path / "out")


def test_a_version_of_a_folder_that_is_no_project_is_exported_from_one(
    pets: tuple[Project, str], tmp_path: Path
) -> None:
    project, id = pets
    saved = project.store.folder / "versions" / id
    served, other = tmp_path / "served", small_project(tmp_path, rows=120)
    shutil.copytree(saved, served / ".assay" / "versions" / id)
    asked = ["export", id[:10], "--to", "adapter", "--out", str(tmp_path / "out"), "--project"]
    refused = CliRunner().invoke(app, [*asked, str(served)])
    assert isinstance(refused.exception, UsageError)
    assert "the folder is not a project" in str(refused.exception)
    shutil.copytree(saved, other.store.folder / "versions" / id)
    done = CliRunner().invoke(app, [*asked, str(other.root)])
    assert done.exit_code == 0, done.exception


def killed(file: Path) -> str:
    raise KeyboardInterrupt


def test_a_folder_for_a_hub_has_a_card_and_nothing_of_this_machine(
    pets: tuple[Project, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, id = pets
    out = tmp_path / "out"
    named = ["export", id[:10], "--to", "hub", "--project", str(project.root), "--out", str(out)]
    refused = CliRunner().invoke(app, named)
    assert isinstance(refused.exception, ModelError)
    assert "its licence is not known" in str(refused.exception)
    with monkeypatch.context() as patch:
        patch.setattr("assay.project.hub_export.sha256_file", killed)
        CliRunner().invoke(app, [*named, "--licence", "mit"])
    assert not out.exists()
    told = CliRunner().invoke(app, [*named, "--licence", "mit"])
    assert told.exit_code == 0, told.exception
    assert f"hf upload ORG/NAME {out}" in told.output
    card = (out / "README.md").read_text()
    assert 'license: "mit"' in card
    assert "Not measured" in card
    for file in (*out.glob("*.json"), out / "README.md"):
        assert str(project.root.parent) not in file.read_text(), file.name

    named += ["--push", "acme/pets"]
    with local_hub() as hub:
        use(hub, monkeypatch, tmp_path / "nowhere")
        monkeypatch.setenv("HF_TOKEN", WRITER)
        unasked = CliRunner().invoke(app, named)
        assert "nobody can confirm" in str(unasked.exception)
        assert not hub.repositories
        sent = CliRunner().invoke(app, [*named, "--yes"])
        assert sent.exit_code == 0, sent.exception
        assert f"Sent: {hub.endpoint}/acme/pets (private)" in sent.output
        there = {**hub.repositories["acme/pets"].files}
    del there[".gitattributes"]
    assert there == {file.name: file.read_bytes() for file in out.iterdir()}
    [line] = [one for one in entries(project.store, project.owner) if one.action == "version.push"]
    assert (line.what, line.details) == (id, {"to": f"{hub.endpoint}/acme/pets", "private": True})


def test_the_command_says_what_it_wrote_and_how_to_serve_it(
    pets: tuple[Project, str], tmp_path: Path
) -> None:
    project, id = pets
    named = ["export", id[:10], "--project", str(project.root), "--out", str(tmp_path / "o")]
    told = CliRunner().invoke(app, [*named, "--to", "ollama"])
    assert told.exit_code == 0, told.output
    assert "ollama create" in told.output
    assert "Parity over" in told.output
    named[-1] = str(tmp_path / "p")
    told = CliRunner().invoke(app, [*named, "--to", "adapter", "--json"])
    assert json.loads(told.stdout)["parity"]["refusals"] == []
