"""Models of true shapes with random weights, and how fast a machine multiplies their matrices.

    python bench/gpu_models.py qwen3-0.6b FOLDER

Writes a folder as a hub would give it, in bfloat16, with the starter's tokenizer (ids of rows are
drawn, no text is read), and prints one JSON line, a `Machine`. `bench/gpu.py` starts it in a
process of its own, whose memory is free again before anything is measured.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from assay.models.device import best_device
from assay.models.load import load_tokenizer
from train_ours import now
from train_works import MODEL

VOCABULARY = 30_000
"""Ids of rows are below it, in every model."""
TOKENS = 4096  # multiplied at once: a pass of ours
REPEATS = 20


@dataclass(frozen=True)
class Machine:
    """Where it runs.

    Attributes:
        device: its name.
        cuda: whether it is a GPU.
        liger: whether Liger's kernels are installed.
        parameters: of the model.
        tflops: 1e12 operations a second of the products of its adapted linear maps.
        limit_tokens_per_s: of a training in which nothing but these products took time: forward,
            and backward for the gradient of their inputs.
    """

    device: str
    cuda: bool
    liger: bool
    parameters: int
    tflops: float
    limit_tokens_per_s: float


def _qwen3(hidden: int, feed_forward: int) -> dict[str, Any]:
    return {
        "model_type": "qwen3",
        "vocab_size": 151_936,
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40_960,
        "tie_word_embeddings": True,
    }


SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-0.6b": _qwen3(1024, 3072),
    "qwen3-1.7b": _qwen3(2048, 6144),
    "llama-1b": {  # as Llama 3.2 1B
        "model_type": "llama",
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131_072,
        "tie_word_embeddings": True,
    },
    "llama-7b": {  # as Llama 2 7B
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    },
    "tiny": {  # for --quick
        "model_type": "qwen3",
        "vocab_size": 32_000,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    },
}


def write(name: str, folder: Path) -> nn.Module:
    """The model and a tokenizer into `folder`; the model, too."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(**SHAPES[name], eos_token_id=2, pad_token_id=2)
    with torch.device(best_device()):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer, _ = load_tokenizer(MODEL)
    tokenizer.save_pretrained(folder)
    return model  # type: ignore[no-any-return]


def measure(model: nn.Module) -> Machine:
    """The products of its maps, each shape by itself, in the format that it is trained in there."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    shapes = Counter(
        (m.out_features, m.in_features)
        for m in model.modules()
        if isinstance(m, nn.Linear) and m is not head
    )
    parameters = sum(p.numel() for p in model.parameters())
    seconds = sum(count * product_s(*shape) for shape, count in shapes.items())
    operations = sum(4 * TOKENS * count * math.prod(shape) for shape, count in shapes.items())
    cuda = torch.cuda.is_available()
    return Machine(
        device=torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        cuda=cuda,
        liger=find_spec("liger_kernel") is not None,
        parameters=parameters,
        tflops=operations / seconds / 1e12,
        limit_tokens_per_s=TOKENS / seconds,
    )


def product_s(outputs: int, inputs: int) -> float:
    """Median seconds of x·Wᵀ and g·W."""
    device = best_device()
    dtype = torch.bfloat16 if device == "cuda" else torch.float32

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    x_ni, g_no, w_oi = drawn(TOKENS, inputs), drawn(TOKENS, outputs), drawn(outputs, inputs)
    seconds = []
    for _ in range(REPEATS + 3):
        began = now()
        x_ni @ w_oi.T
        g_no @ w_oi
        seconds.append(now() - began)
    return statistics.median(seconds[3:])


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(asdict(measure(write(sys.argv[1], Path(sys.argv[2]))))), file=answers)
