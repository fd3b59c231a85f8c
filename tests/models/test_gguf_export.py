"""llama.cpp computes from our GGUF files what transformers and PEFT compute from theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, quants
from tests.generate.llamacpp.server import SERVER, logprobs, write_tiny
from tests.generate.tiny import byte_tokenizer, tiny_model
from transformers import AutoModelForCausalLM

from assay.config import FineTune
from assay.errors import ModelError
from assay.generate.llamacpp.server import LlamaCppServer
from assay.models.gguf_adapter import adapter_refusal, write_adapter
from assay.models.gguf_export import folder_tensors, model_tensors, refusal, write_model
from assay.models.load import LoadedModel
from assay.train import adapters

pytestmark = pytest.mark.slow

PROMPT = [257, *b"user\nWhat is the capital of Norway?", 258]
# llama.cpp rounds activations to 16 bits where weights are. Twice the most that was seen on these
# random models (0.0101, and a KL of 5e-6).
CLOSE, KL = 0.02, 1e-5
NO_WINDOW: dict[str, Any] = {"use_sliding_window": False, "sliding_window": None}
HELD: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True, "attention_bias": True}),
    (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    ("mistral", {"sliding_window": None}),
    ("qwen2", NO_WINDOW),
    (
        "qwen2",
        {**NO_WINDOW, "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    ),
    ("qwen3", {}),
    ("gemma", {}),
    ("gemma2", {"attn_logit_softcapping": 20.0}),
    ("gemma3", {"num_hidden_layers": 7}),
]


def _rounded(family: str, **changes: Any) -> Any:
    """A tiny model whose weights are 16-bit floats already."""
    model = tiny_model(family, **changes)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.half().float()
        if "norm" in name:
            parameter.data += torch.linspace(-0.2, 0.2, parameter.numel()).view_as(parameter)
        if name.endswith("bias"):
            parameter.data += torch.linspace(-0.5, 0.5, parameter.numel())
    return model


def _theirs(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(-1)


def _compare(server: LlamaCppServer, model: Any, adapter: str | None = None) -> None:
    """Ten greedy tokens, and the log-probabilities of the whole vocabulary at each."""
    ours = logprobs(server, PROMPT, 10, 264, adapter)
    tokens = [max(step, key=step.__getitem__) for step in ours]
    theirs = _theirs(model, PROMPT + tokens)[len(PROMPT) - 1 : -1]
    assert tokens == theirs.argmax(-1).tolist()
    for step, row in zip(ours, theirs, strict=True):
        assert len(step) == 264
        told = torch.tensor([step[token] for token in range(264)], dtype=torch.float64)
        assert (told.exp() * (told - row)).sum().abs() < KL
        likely = row > -8
        assert (told - row)[likely].abs().max() < CLOSE


@pytest.mark.parametrize(("family", "changes"), HELD, ids=lambda v: v if isinstance(v, str) else "")
def test_a_written_model_has_the_log_probabilities_of_transformers(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    model = _rounded(family, **changes)
    assert refusal(model.config) is None
    _compare(LlamaCppServer(write_tiny(tmp_path / "m.gguf", model), {}, SERVER), model)


def test_a_folder_of_bfloat16_is_written_as_the_model_it_holds(tmp_path: Path) -> None:
    model = tiny_model("qwen3").bfloat16()
    model.save_pretrained(tmp_path / "m")
    path = tmp_path / "m.gguf"
    write_model(
        path,
        model.config,
        folder_tensors(tmp_path / "m"),
        byte_tokenizer(),
        name="tiny",
        chat_template=None,
        stop_ids={258},
    )
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32)
    _compare(LlamaCppServer(path, {}, SERVER), read.eval())


def test_four_bits_keep_what_was_trained_on_a_model_published_in_q4_1(tmp_path: Path) -> None:
    model = tiny_model("llama")
    weight = model.model.layers[1].mlp.down_proj.weight
    published = weight.detach().numpy().copy()
    kind = GGMLQuantizationType.Q4_1
    published = quants.dequantize(quants.quantize(published, kind), kind)
    step = np.ptp(published.reshape(-1, 32), axis=-1).mean() / 15
    trained = 0.1 * step * np.random.default_rng(0).standard_normal(published.shape)
    weight.data = torch.from_numpy((published + trained).astype(np.float32))
    path, tensors = tmp_path / "m.gguf", model_tensors(model)
    tokenizer = byte_tokenizer()
    write_model(
        path, model.config, tensors, tokenizer, name="m", chat_template=None, stop_ids={258}, bits=4
    )
    [held] = [t for t in GGUFReader(path).tensors if t.name == "blk.1.ffn_down.weight"]
    kept = quants.dequantize(held.data, held.tensor_type) - published
    # The share of the update that is left; what rounding adds beside it is of no direction.
    assert (kept * trained).sum() / (trained**2).sum() > 0.7


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("kind", ["lora", "rslora"])
def test_a_written_adapter_answers_as_peft(family: str, kind: str, tmp_path: Path) -> None:
    model = _rounded(family)
    base = write_tiny(tmp_path / "m.gguf", model)
    plain = _theirs(model, PROMPT)
    loaded = LoadedModel(model, byte_tokenizer(), "tiny", "tiny", 512, "float32")
    settings = FineTune(rank=4, alpha=8, adapter=kind, learning_rate=1e-3, epochs=1)
    with adapters.adapt(loaded, settings) as tuned:
        generator = torch.Generator().manual_seed(1)
        for name, parameter in adapters.trainable(tuned).items():
            if "lora_B" in name:
                parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
        (tmp_path / "a").mkdir()
        adapters.write(tmp_path / "a", tuned, adapters.weights(tuned))
        assert (_theirs(tuned, PROMPT) - plain).abs().max() > 0.1
        write_adapter(tmp_path / "a.gguf", tmp_path / "a", model.config)
        server = LlamaCppServer(base, {"a": tmp_path / "a.gguf"}, SERVER)
        _compare(server, tuned.eval(), "a")
    _compare(server, model)


def test_what_llama_cpp_cannot_compute_is_refused_with_the_reason(tmp_path: Path) -> None:
    for family in ("phi3", "smollm3", "mistral", "qwen2"):
        assert refusal(tiny_model(family).config)
    with pytest.raises(ModelError, match="slides"):
        write_tiny(tmp_path / "m.gguf", tiny_model("mistral"))
    assert list(tmp_path.iterdir()) == []


def test_a_dora_has_no_gguf_form(tmp_path: Path) -> None:
    loaded = LoadedModel(tiny_model(), byte_tokenizer(), "tiny", "tiny", 512, "float32")
    settings = FineTune(rank=4, alpha=8, adapter="dora", learning_rate=1e-3, epochs=1)
    with adapters.adapt(loaded, settings) as tuned:
        adapters.write(tmp_path, tuned, adapters.weights(tuned))
    assert "DoRA" in str(adapter_refusal(tmp_path))
    with pytest.raises(ModelError, match="cannot be written as GGUF"):
        write_adapter(tmp_path / "a.gguf", tmp_path, loaded.model.config)
