"""Tiny random models of current families, as their repositories on the hub hold them.

Each config.json has the fields of the family's own, in the spelling of the transformers that it was
published with, and smaller numbers; weights are bfloat16. Templates and tokenizers are those of
`tests/chat`, shaped like the family's and no copies of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tests.chat.families import FAMILIES, Family, tokenizer_for
from tests.chat.newer_families import GRANITE_FAMILY, OLMO2_FAMILY, PHI4_FAMILY, SMOLLM3_FAMILY


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A model of the hub in small.

    Attributes:
        config: its config.json, without the ids of tokens.
        tokenizer_class: as its tokenizer_config.json names it.
        ends: tokens that end an answer, as generation_config.json and config.json list them.
        serves: the engine that answers its streams.
        files: what else lies in its repository.
    """

    family: Family
    config: dict[str, Any]
    tokenizer_class: str
    licence: str
    ends: tuple[str, ...]
    serves: str
    files: dict[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Lay its files into `folder`, but for the card."""
        from transformers import AutoConfig, AutoModelForCausalLM

        folder.mkdir(parents=True)
        tokenizer = tokenizer_for(self.family)
        ends = [tokenizer.convert_tokens_to_ids(end) for end in self.ends]
        config = {
            **_COMMON,
            **self.config,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": ends if len(ends) > 1 else ends[0],
            "pad_token_id": tokenizer.pad_token_id,
        }
        place = config.get("text_config", config)
        place["vocab_size"] = -(-len(tokenizer) // 64) * 64  # there are rows that no token has
        text = json.dumps(config, indent=2)
        (folder / "config.json").write_text(text)
        torch.manual_seed(0)
        made = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(made).to(torch.bfloat16)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "config.json").write_text(text)
        settings = folder / "tokenizer_config.json"
        named = {**json.loads(settings.read_text()), "tokenizer_class": self.tokenizer_class}
        settings.write_text(json.dumps(named))
        generation = {"do_sample": True, "eos_token_id": ends, "temperature": 0.6, "top_k": 20}
        (folder / "generation_config.json").write_text(json.dumps(generation))
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


_COMMON = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,  # large enough that tokens are chosen clearly
    "attention_dropout": 0.0,
    "rope_scaling": None,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}

PUBLISHED = {
    "Qwen/Qwen3-0.6B": PublishedModel(
        FAMILIES["qwen3"],
        {
            "architectures": ["Qwen3ForCausalLM"],
            "attention_bias": False,
            "head_dim": 16,
            "hidden_act": "silu",
            "max_position_embeddings": 40960,
            "max_window_layers": 2,
            "model_type": "qwen3",
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "transformers_version": "4.51.0",
            "use_sliding_window": False,
        },
        "Qwen2Tokenizer",
        "apache-2.0",
        ("<|im_end|>", "<|endoftext|>"),
        "llamacpp",
    ),
    "meta-llama/Llama-3.2-1B-Instruct": PublishedModel(
        FAMILIES["llama3"],
        {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "head_dim": 12,
            "hidden_act": "silu",
            "max_position_embeddings": 131072,
            "mlp_bias": False,
            "model_type": "llama",
            "pretraining_tp": 1,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "factor": 32.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 8192,
                "rope_type": "llama3",
            },
            "rope_theta": 500000.0,
            "tie_word_embeddings": True,
            "transformers_version": "4.45.0.dev0",
        },
        "PreTrainedTokenizerFast",
        "llama3.2",
        ("<|end_of_text|>", "<|eot_id|>"),
        "llamacpp",
        {"LICENSE.txt": b"A licence.\n", "USE_POLICY.md": b"A policy.\n"},
    ),
    "google/gemma-3-1b-it": PublishedModel(
        FAMILIES["gemma"],
        {
            "architectures": ["Gemma3ForCausalLM"],
            "attention_bias": False,
            "attn_logit_softcapping": None,
            "cache_implementation": "hybrid",
            "final_logit_softcapping": None,
            "head_dim": 16,
            "hidden_activation": "gelu_pytorch_tanh",
            "max_position_embeddings": 32768,
            "model_type": "gemma3_text",
            "num_hidden_layers": 7,
            "query_pre_attn_scalar": 16,
            "rms_norm_eps": 1e-06,
            "rope_local_base_freq": 10000,
            "rope_theta": 1000000,
            "sliding_window": 32,
            "sliding_window_pattern": 6,
            "transformers_version": "4.50.0.dev0",
        },
        "GemmaTokenizer",
        "gemma",
        ("<eos>", "<end_of_turn>"),
        "llamacpp",
        {"added_tokens.json": b'{"<image_soft_token>": 9999}'},
    ),
    "google/gemma-3-4b-it": PublishedModel(
        FAMILIES["gemma"],
        {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "boi_token_index": 1,
            "eoi_token_index": 2,
            "image_token_index": 3,
            "mm_tokens_per_image": 1,
            "model_type": "gemma3",
            # The rest, the length of its context among it, is what transformers takes for granted.
            "text_config": {
                "head_dim": 16,
                "hidden_size": 48,
                "intermediate_size": 64,
                "initializer_range": 0.2,
                "model_type": "gemma3_text",
                "num_attention_heads": 4,
                "num_hidden_layers": 7,
                "num_key_value_heads": 2,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                "sliding_window": 32,
            },
            "transformers_version": "4.50.0.dev0",
            "vision_config": {
                "hidden_size": 16,
                "image_size": 28,
                "intermediate_size": 16,
                "model_type": "siglip_vision_model",
                "num_attention_heads": 2,
                "num_hidden_layers": 1,
                "patch_size": 14,
                "vision_use_head": False,
            },
        },
        "GemmaTokenizer",
        "gemma",
        ("<eos>", "<end_of_turn>"),
        "transformers",
        {"preprocessor_config.json": b"{}"},
    ),
    "microsoft/Phi-4-mini-instruct": PublishedModel(
        PHI4_FAMILY,
        {
            "architectures": ["Phi3ForCausalLM"],
            "attention_bias": False,
            "auto_map": {
                "AutoConfig": "configuration_phi3.Phi3Config",
                "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
                "AutoTokenizer": "Xenova/gpt-4o",
            },
            "embd_pdrop": 0.0,
            "full_attn_mod": 1,
            "hidden_act": "silu",
            "hidden_size": 64,
            "interpolate_factor": 1,
            "lm_head_bias": False,
            "max_position_embeddings": 131072,
            "mlp_bias": False,
            "model_type": "phi3",
            "original_max_position_embeddings": 4096,
            "partial_rotary_factor": 0.75,
            "resid_pdrop": 0.0,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
                "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
                "type": "longrope",
            },
            "rope_theta": 10000.0,
            "sliding_window": 262144,
            "tie_word_embeddings": True,
            "transformers_version": "4.45.0",
        },
        "GPT2Tokenizer",
        "mit",
        ("<|endoftext|>", "<|end|>"),
        "transformers",
        {
            "configuration_phi3.py": b"raise SystemExit('code of the model has run')\n",
            "modeling_phi3.py": b"raise SystemExit('code of the model has run')\n",
        },
    ),
    "mistralai/Mistral-7B-Instruct-v0.3": PublishedModel(
        FAMILIES["mistral"],
        {
            "architectures": ["MistralForCausalLM"],
            "hidden_act": "silu",
            "max_position_embeddings": 32768,
            "model_type": "mistral",
            "rms_norm_eps": 1e-05,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "transformers_version": "4.42.0.dev0",
        },
        "LlamaTokenizer",
        "apache-2.0",
        ("</s>",),
        "llamacpp",
        {
            "consolidated.safetensors": bytes(1000),
            "params.json": b'{"dim": 48}',
            "tokenizer.model.v3": b"\n\x0e",
        },
    ),
    "HuggingFaceTB/SmolLM3-3B": PublishedModel(
        SMOLLM3_FAMILY,
        {
            "architectures": ["SmolLM3ForCausalLM"],
            "attention_bias": False,
            "hidden_act": "silu",
            "layer_types": ["full_attention"] * 4,
            "max_position_embeddings": 65536,
            "max_window_layers": 28,
            "mlp_bias": False,
            "model_type": "smollm3",
            "no_rope_layer_interval": 4,
            "no_rope_layers": [1, 1, 1, 0],
            "num_hidden_layers": 4,
            "pretraining_tp": 2,
            "rms_norm_eps": 1e-06,
            "rope_theta": 5000000.0,
            "sliding_window": None,
            "transformers_version": "4.54.0.dev0",
            "use_sliding_window": False,
        },
        "PreTrainedTokenizerFast",
        "apache-2.0",
        ("<|im_end|>",),
        "transformers",
    ),
    "ibm-granite/granite-3.3-2b-instruct": PublishedModel(
        GRANITE_FAMILY,
        {
            "architectures": ["GraniteForCausalLM"],
            "attention_bias": False,
            "attention_multiplier": 0.25,
            "embedding_multiplier": 2.0,
            "hidden_act": "silu",
            "logits_scaling": 8.0,
            "max_position_embeddings": 131072,
            "mlp_bias": False,
            "model_type": "granite",
            "residual_multiplier": 0.9,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000000.0,
            "tie_word_embeddings": True,
            "transformers_version": "4.49.0",
        },
        "GPT2Tokenizer",
        "apache-2.0",
        ("<|end_of_text|>",),
        "transformers",
    ),
    "allenai/OLMo-2-0425-1B-Instruct": PublishedModel(
        OLMO2_FAMILY,
        {
            "architectures": ["Olmo2ForCausalLM"],
            "attention_bias": False,
            "hidden_act": "silu",
            "max_position_embeddings": 4096,
            "model_type": "olmo2",
            "rms_norm_eps": 1e-06,
            "rope_theta": 500000,
            "tie_word_embeddings": False,
            "transformers_version": "4.47.0",
        },
        "GPT2Tokenizer",
        "apache-2.0",
        ("<|endoftext|>",),
        "transformers",
    ),
}
