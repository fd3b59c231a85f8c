"""Folders that must not be loaded are refused before anything in them runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.errors import ModelError
from assay.models.pull import pull


def change(file: Path, **fields: object) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **fields}))


def test_whole_folder_is_taken_where_it_is(model_folder: Path) -> None:
    assert pull(str(model_folder)) == model_folder


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_pickles_are_refused(model_folder: Path, name: str) -> None:
    (model_folder / "model.safetensors").rename(model_folder / name)
    with pytest.raises(ModelError, match=rf"pickles \({name}\)"):
        pull(str(model_folder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused(model_folder: Path, name: str) -> None:
    change(model_folder / name, auto_map={"AutoModelForCausalLM": "evil.Model"})
    with pytest.raises(ModelError, match=rf"{name}: this model needs its own code"):
        pull(str(model_folder))


OWN = {
    "AutoConfig": "configuration_llama.LlamaConfig",
    "AutoModelForCausalLM": "someone/model--modeling_llama.LlamaForCausalLM",
    "AutoTokenizer": "someone/other-model",
}


@pytest.mark.parametrize(
    ("named", "taken"),
    [
        (OWN, True),
        ({**OWN, "AutoModelForCausalLM": "modeling_llama.BetterLlamaForCausalLM"}, False),
        ({**OWN, "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}, False),
        ({**OWN, "AutoTokenizer": "tokenization_llama.OwnTokenizer"}, False),
        ({**OWN, "AutoModel": "modeling_llama.LlamaModel"}, False),
        ({"AutoConfig": ["configuration_llama.LlamaConfig"]}, False),
        (["modeling_llama.LlamaForCausalLM"], False),
    ],
)
def test_code_that_has_become_part_of_transformers_is_not_needed(
    model_folder: Path, named: object, taken: bool
) -> None:
    """As Phi-3 and Phi-4-mini name it still."""
    change(model_folder / "config.json", auto_map=named)
    if taken:
        assert pull(str(model_folder)) == model_folder
    else:
        with pytest.raises(ModelError, match="needs its own code"):
            pull(str(model_folder))


@pytest.mark.parametrize("kind", ["no-such-thing", "t5", None, []])
def test_architecture_that_does_not_continue_text_is_refused(
    model_folder: Path, kind: object
) -> None:
    change(model_folder / "config.json", model_type=kind)
    with pytest.raises(ModelError, match="not a causal language model that transformers"):
        pull(str(model_folder))
    change(model_folder / "config.json", auto_map=OWN)
    with pytest.raises(ModelError, match="needs its own code"):
        pull(str(model_folder))


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_weights_cut_short_are_found(model_folder: Path, keep: int) -> None:
    file = model_folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match="incomplete or damaged"):
        pull(str(model_folder))


def test_missing_shard_is_named(model_folder: Path) -> None:
    (model_folder / "model.safetensors").rename(model_folder / "model-00001-of-00002.safetensors")
    change(
        model_folder / "model.safetensors.index.json",
        weight_map={
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors",
        },
    )
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors missing"):
        pull(str(model_folder))


def test_shards_cannot_be_named_outside_the_folder(model_folder: Path) -> None:
    (model_folder.parent / "outside.safetensors").write_bytes(b"")
    change(
        model_folder / "model.safetensors.index.json",
        weight_map={"a": "../outside.safetensors"},
    )
    with pytest.raises(ModelError, match=r"outside\.safetensors missing"):
        pull(str(model_folder))


def test_no_weights_at_all(model_folder: Path) -> None:
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        pull(str(model_folder))


def test_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json here"):
        pull(str(tmp_path))


@pytest.mark.parametrize("content", ['{"a": ', "[]", "\x00"])
def test_damaged_config(model_folder: Path, content: str) -> None:
    (model_folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json: this "):
        pull(str(model_folder))
