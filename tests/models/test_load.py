"""Loading: quietly, with the hash of what was loaded, with an adapter that fits."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assay.errors import ModelError, UsageError
from assay.models import load as loading
from assay.models.load import (
    context_length,
    load,
    load_to_train,
    load_tokenizer,
    published_format,
    weights_sha256,
)
from assay.models.pull import RECORD
from assay.models.show import describe, embedding_parameters, list_models
from assay.store.files import sha256_file, write_json


@pytest.fixture
def adapter(model_folder: Path, tmp_path: Path) -> Path:
    """A LoRA adapter of the tiny model that changes its answers."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path / "adapter"
    base = load(str(model_folder)).model
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(parameter)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_model_comes_ready_to_use(model_folder: Path, dtype: str) -> None:
    import torch

    loaded = load(str(model_folder), dtype=dtype)
    assert loaded.model.dtype == getattr(torch, dtype)
    assert not loaded.model.training
    assert (loaded.ref, loaded.context_length, loaded.dtype) == (str(model_folder), 256, dtype)
    assert loaded.weights_sha256 == sha256_file(model_folder / "model.safetensors")
    ids = torch.tensor([loaded.tokenizer.encode("hello")])
    assert loaded.model(ids).logits.shape == (1, ids.shape[1], len(loaded.tokenizer))


@pytest.mark.parametrize("published", ["bfloat16", "float32"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_gpu_trains_on_a_base_in_the_format_it_was_published_in(
    model_folder: Path, published: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU on a base in float32, whose products may be faster."""
    config = json.loads((model_folder / "config.json").read_text())
    (model_folder / "config.json").write_text(json.dumps({**config, "dtype": published}))
    monkeypatch.setattr(loading, "best_device", lambda: device)
    monkeypatch.setattr(loading, "native_bfloat16", lambda _: True)
    loaded = load_to_train(str(model_folder))
    assert loaded.model.device.type == device
    assert loaded.dtype == ("float32" if device == "cpu" else published)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": "float16"}, "float16"),
        ({"text_config": {"dtype": "bfloat16"}}, "bfloat16"),
        ({"text_config": None}, "float32"),
    ],
)
def test_the_format_that_a_model_was_published_in(
    config: dict[str, object], found: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert published_format(tmp_path) == found


def test_nothing_is_printed(
    model_folder: Path, adapter: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    load(str(model_folder), adapter=adapter)
    assert capfd.readouterr() == ("", "")


def test_threads_that_load_at_once_get_whole_models_and_leave_torch_as_it_was(
    model_folder: Path,
) -> None:
    """transformers patches torch for the whole process while it builds a model."""
    import torch

    first = load(str(model_folder)).model.state_dict()
    before = dict(vars(torch.nn.init))
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: load(str(model_folder)).model, range(48)))
    for model in models:
        assert all(torch.equal(model.state_dict()[name], first[name]) for name in first)
        head = model.get_output_embeddings().weight
        assert head.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert dict(vars(torch.nn.init)) == before
    assert torch.get_default_dtype() == torch.float32


def test_tokenizer_alone(model_folder: Path) -> None:
    tokenizer, limit = load_tokenizer(str(model_folder))
    assert limit == 256
    assert tokenizer.decode(tokenizer.encode("hello world")) == "hello world"


def test_unknown_dtype_is_wrong_usage(model_folder: Path) -> None:
    with pytest.raises(UsageError, match="Use one of: float32, bfloat16, float16"):
        load(str(model_folder), dtype="int8")


def test_weights_that_do_not_fit_their_config(model_folder: Path) -> None:
    file = model_folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "hidden_size": 24}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(model_folder))


def test_tensors_that_lack_or_are_left_over(model_folder: Path) -> None:
    """transformers would make numbers up, or leave them out. Code that is named is never run."""
    from safetensors.torch import load_file, save_file

    weights, config = model_folder / "model.safetensors", model_folder / "config.json"
    whole, plain = load_file(weights), json.loads(config.read_text())
    named = {"AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM"}
    (model_folder / "modeling_llama.py").write_text("raise SystemExit('it has run')")
    config.write_text(json.dumps({**plain, "auto_map": named}))
    load(str(model_folder))
    more = {**whole, "model.layers.0.extra.weight": whole["model.norm.weight"].clone()}
    save_file(more, weights, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensor differs, such as model\.layers\.0\.extra"):
        load(str(model_folder))
    config.write_text(json.dumps(plain))
    load(str(model_folder))
    less = {name: tensor for name, tensor in whole.items() if name != "model.norm.weight"}
    save_file(less, weights, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensor differs, such as model\.norm"):
        load(str(model_folder))


def test_no_tokenizer(model_folder: Path) -> None:
    for file in model_folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(str(model_folder))


def test_adapter_changes_the_answers(model_folder: Path, adapter: Path) -> None:
    import torch

    ids = torch.tensor([[1, 2, 3]])
    plain, tuned = load(str(model_folder)), load(str(model_folder), adapter=adapter)
    assert not torch.equal(plain.model(ids).logits, tuned.model(ids).logits)
    assert plain.weights_sha256 == tuned.weights_sha256
    assert not tuned.model.training


def test_adapter_of_another_model_is_refused(model_folder: Path, adapter: Path) -> None:
    file = model_folder / "config.json"
    config = json.loads(file.read_text())
    other = model_folder.parent / "other"
    _tiny_of(config, hidden_size=32).save_pretrained(other)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (other / name).write_bytes((model_folder / name).read_bytes())
    with pytest.raises(ModelError, match="adapter does not fit"):
        load(str(other), adapter=adapter)


def _tiny_of(config: dict[str, object], **changes: object) -> object:
    from transformers import LlamaConfig, LlamaForCausalLM

    merged = {**config, **changes}
    merged.pop("head_dim")
    return LlamaForCausalLM(LlamaConfig(**merged))


def test_pickled_adapter_is_refused(model_folder: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickles"):
        load(str(model_folder), adapter=adapter)
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        load(str(model_folder), adapter=model_folder)


def test_hash_is_remembered_until_the_file_changes(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = weights_sha256(model_folder)
    with monkeypatch.context() as patch:
        patch.setattr("assay.models.pull.sha256_file", lambda _: pytest.fail("hashed again"))
        assert weights_sha256(model_folder) == first
    file = model_folder / "model.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    assert weights_sha256(model_folder) == sha256_file(file) != first


def test_shards_have_one_hash(model_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    whole = weights_sha256(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    (model_folder / "model.safetensors").unlink()
    model.save_pretrained(model_folder, max_shard_size="20KB")
    assert len(list(model_folder.glob("*.safetensors"))) > 1
    assert weights_sha256(model_folder) == weights_sha256(model_folder) != whole


def test_fetched_weights_that_changed_are_noticed(model_folder: Path) -> None:
    record = {"source": "x", "sha256": "abc", "files": {}, "tensors": weights_sha256(model_folder)}
    write_json(model_folder / RECORD, record)
    assert weights_sha256(model_folder) == "abc"
    file = model_folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x55")
    with pytest.raises(ModelError, match="changed since they were pulled"):
        load(str(model_folder))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 77}}, 77),
        # Of Gemma 3 4B: what the file does not say, transformers does.
        ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}, 131072),
        ({"model_type": "no-such-thing"}, 2048),
        ({}, 2048),
    ],
)
def test_context_length(config: dict[str, object], expected: int) -> None:
    assert context_length(config) == expected


def test_description(model_folder: Path) -> None:
    info = describe(str(model_folder))
    parameters = sum(p.numel() for p in load(str(model_folder)).model.parameters())
    assert info.architecture == "LlamaForCausalLM"
    assert info.parameters == parameters
    assert info.template_sha256 is not None
    assert len(info.template_sha256) == 64
    assert info.licence is None


def test_list_shows_starters_that_are_not_here() -> None:
    starters = {k.ref: k for k in list_models()}
    assert set(starters) == {"smollm2-135m-instruct", "all-minilm-l6-v2"}
    assert not any(k.ready for k in starters.values())


def test_embeddings_are_counted_once_where_they_are_tied(model_folder: Path) -> None:
    """Also where the file holds the head beside them."""
    from safetensors.torch import load_file, save_file

    config, weights = model_folder / "config.json", model_folder / "model.safetensors"
    values, fields = load_file(weights), json.loads(config.read_text())
    [name] = [name for name in values if "embed_tokens" in name]
    once = values[name].numel()
    save_file({**values, "lm_head.weight": values[name].clone()}, weights, {"format": "pt"})
    for tied in (True, False):
        config.write_text(json.dumps({**fields, "tie_word_embeddings": tied}))
        assert embedding_parameters(str(model_folder)) == (once if tied else 2 * once)
