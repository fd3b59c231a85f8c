"""GGUF files become folders with the same numbers and the tokenizer the model was trained with."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import ModelError
from assay.models.load import load
from assay.models.pull import pull
from assay.models.show import describe, list_models


def write_gguf(
    path: Path, model: Path, *, pre: str = "smollm", architecture: str = "llama"
) -> None:
    """The tiny Llama as GGUF (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
    import json

    import gguf
    import numpy as np

    loaded = load(str(model))
    config, tensors = loaded.model.config, loaded.model.state_dict()
    raw = json.loads((model / "tokenizer.json").read_text())
    vocabulary = loaded.tokenizer.get_vocab()
    special = {t["content"] for t in raw["added_tokens"]}
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_license("mit")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in raw["model"]["merges"]])
    writer.add_eos_token_id(loaded.tokenizer.eos_token_id)
    writer.add_bos_token_id(loaded.tokenizer.bos_token_id)
    writer.add_chat_template(loaded.tokenizer.chat_template)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "model.layers": "blk",
    }
    for key, tensor in tensors.items():
        if key == "lm_head.weight":
            continue
        array = tensor.numpy()
        if (part := key.split(".")[-2]) in heads:  # llama.cpp's order of rotary pairs
            rows, columns = array.shape
            halves = array.reshape(heads[part], 2, rows // heads[part] // 2, columns)
            array = halves.swapaxes(1, 2).reshape(rows, columns)
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        writer.add_tensor(key, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def gguf_path(model_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, model_folder)
    return path


def test_same_numbers_template_and_spelling(
    gguf_path: Path, model_folder: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    capfd.readouterr()
    there = load(str(gguf_path))
    assert capfd.readouterr() == ("", "")
    original = load(str(model_folder))
    ids = torch.tensor([[5, 80, 200, 7]])
    torch.testing.assert_close(there.model(ids).logits, original.model(ids).logits)
    assert there.tokenizer.chat_template == original.tokenizer.chat_template
    assert there.tokenizer.model_max_length == there.context_length == 256
    text = "hello <|im_end|> für"
    assert there.tokenizer.encode(text) == original.tokenizer.encode(text)


def test_it_is_unpacked_once(gguf_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pull(str(gguf_path))
    monkeypatch.setattr("assay.models.gguf_file.dequantise", lambda *_: pytest.fail("again"))
    assert pull(str(gguf_path)) == folder
    info = describe(str(gguf_path))
    assert (info.licence, info.architecture) == ("mit", "LlamaForCausalLM")
    assert [k.summary for k in list_models() if k.ref == "tiny.gguf"] == ["from a file"]


def test_digits_stay_apart_where_the_vocabulary_was_learned_so(
    gguf_path: Path, model_folder: Path, tmp_path: Path
) -> None:
    apart = load(str(gguf_path)).tokenizer.backend_tokenizer.pre_tokenizer
    assert [piece for piece, _ in apart.pre_tokenize_str("a  12")] == ["a", "ĠĠ", "1", "2"]
    write_gguf(tmp_path / "plain.gguf", model_folder, pre="gpt-2")
    together = load(str(tmp_path / "plain.gguf")).tokenizer.backend_tokenizer.pre_tokenizer
    assert [piece for piece, _ in together.pre_tokenize_str("a  12")] == ["a", "Ġ", "Ġ12"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_file_cut_short_is_refused(gguf_path: Path, cache: Path, share: float) -> None:
    raw = gguf_path.read_bytes()
    gguf_path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(ModelError, match="not a GGUF file, or it is incomplete"):
        pull(str(gguf_path))
    assert not list(cache.glob("gguf/*"))


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"not a model" * 100)
    with pytest.raises(ModelError, match="not a GGUF file"):
        pull(str(tmp_path / "a.gguf"))


def test_unknown_architecture_is_refused(model_folder: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "odd.gguf", model_folder, architecture="oddity")
    with pytest.raises(ModelError, match="transformers cannot read this GGUF file"):
        pull(str(tmp_path / "odd.gguf"))
