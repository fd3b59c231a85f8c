"""Random models of every family, small enough to compare token by token, and a byte tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from assay.chat.template import Template
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.load import LoadedModel

CONTEXT = 512
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WINDOW = 12
SIZES = {
    "vocab_size": 264,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 256,
    "bos_token_id": 257,
    "eos_token_id": 258,
    "initializer_range": 0.2,  # large enough that tokens are chosen clearly
}
_EYES = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_PICTURE_IDS = {"image_token_index": 263, "boi_token_index": 261, "eoi_token_index": 262}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "llama, no groups": ("LlamaConfig", {"num_key_value_heads": 4}),
    "mistral": ("MistralConfig", {"sliding_window": WINDOW}),
    "qwen2": (
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {"head_dim": 16}),
    "gemma": ("GemmaConfig", {"head_dim": 16}),
    "gemma2": (
        "Gemma2Config",
        {
            "head_dim": 16,
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 16,
            "attn_logit_softcapping": 2.0,
        },
    ),
    "gemma3": (
        "Gemma3TextConfig",
        {"head_dim": 16, "sliding_window": WINDOW, "query_pre_attn_scalar": 16},
    ),
    "gemma3, with pictures": ("Gemma3Config", {}),
    "phi3": ("Phi3Config", {"sliding_window": WINDOW}),
    "smollm3": ("SmolLM3Config", {}),
}


def tiny_model(family: str = "llama", seed: int = 0, **changes: Any) -> Any:
    """A random float32 model of a family, in eval mode, with transformers' eager attention."""
    import transformers
    from transformers import AutoModelForCausalLM

    name, special = FAMILIES[family]
    torch.manual_seed(seed)
    if name == "Gemma3Config":
        text = {**SIZES, **FAMILIES["gemma3"][1], **changes}
        config = transformers.Gemma3Config(text_config=text, vision_config=_EYES, **_PICTURE_IDS)
    else:
        config = getattr(transformers, name)(**{**SIZES, **special, **changes})
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte, and ChatML's marks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({byte: i for i, byte in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|pad|>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def tiny_loaded(family: str = "llama", seed: int = 0, **changes: Any) -> LoadedModel:
    """A tiny model as `load` would give it."""
    return LoadedModel(
        model=tiny_model(family, seed, **changes),
        tokenizer=byte_tokenizer(),
        ref=f"tiny-{family}",
        weights_sha256=f"{family}-{seed}",
        context_length=CONTEXT,
        dtype="float32",
    )


def tiny_engine(
    family: str = "llama", *, stops: int = 0, **settings: Any
) -> TransformersBatchEngine:
    """An engine over a tiny model.

    Args:
        stops: so many bytes end an answer too, for a random model hardly ever ends one.
    """
    loaded = tiny_loaded(family)
    template = Template.of(loaded.tokenizer)
    template.stop_ids = template.stop_ids | frozenset(range(stops))
    return TransformersBatchEngine(loaded, template, device="cpu", **settings)


def ask(text: str, *, system: str = "", shown: tuple[str, ...] = (), **fields: Any) -> Request:
    """A request with a system prompt and shown examples where given."""
    turns = [Message("system", system)] if system else []
    for example in shown:
        turns += [Message("user", example), Message("assistant", example.upper())]
    fields.setdefault("max_new_tokens", 12)
    return Request((*turns, Message("user", text)), **fields)
