"""Memory and speed of a training whose base is in 4 bits, beside the dense one and PEFT's QLoRA.

    python bench/quantization.py [--steps 6] [--json]

A random model of the shape of Qwen2.5-0.5B is trained with LoRA of rank 16 on rows of 256 tokens,
two a step, each way in a process of its own, one after the other. "PEFT" is the same base in 4 bits
under PEFT's layers and a plain loop. Memory is what the process holds once the model is loaded, and
the most within the steps (Linux).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from assay.config import FineTune
from assay.models.device import give_back_freed
from memory import most_within_step

VOCABULARY, TOKENS, ROWS = 151_936, 256, 2
WAYS = {"dense": "none", "nf4": "nf4", "PEFT": "nf4"}


def save_model(folder: Path) -> None:
    """A random one, in bfloat16 as such models are published, with a tokenizer that nobody asks."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    words = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="a").save_pretrained(folder)


def measure(way: str, folder: Path, steps: int) -> dict[str, float]:
    """What one way takes, in this process."""
    import torch

    from assay.models.load import load_to_train
    from assay.train import adapters
    from assay.train.fused import fast
    from assay.train.sequences import TrainingSequence, alone
    from assay.train.step import step

    settings = FineTune.model_validate({"rank": 16, "quantization": WAYS[way]})
    loaded = load_to_train(str(folder), settings.quantization)
    give_back_freed()
    loaded_mb = psutil.Process().memory_info().rss / 1e6
    most_within_step()
    draw = random.Random(0)
    with adapters.adapt(loaded, settings) as adapted:
        model: Any = adapted.train()
        optimizer = torch.optim.AdamW(adapters.trainable(model).values(), lr=1e-4)

        def one_step() -> None:
            rows = [[draw.randrange(VOCABULARY) for _ in range(TOKENS)] for _ in range(ROWS)]
            if way == "PEFT":
                ids = torch.tensor(rows)
                model(input_ids=ids, labels=ids).loss.backward()
            else:
                step(model, alone([TrainingSequence(row, [True] * TOKENS) for row in rows]))
            optimizer.step()
            optimizer.zero_grad()

        def all_steps() -> float:
            one_step()
            began = time.perf_counter()
            for _ in range(steps):
                one_step()
            return (time.perf_counter() - began) / steps

        if way == "PEFT":
            seconds = all_steps()
        else:
            with fast(model, torch.float32):
                seconds = all_steps()
    return {"loaded_mb": loaded_mb, "peak_mb": most_within_step(), "step_s": seconds}


def main() -> None:
    """Measure all ways, each in a process, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=[*WAYS], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(measure(asked.way, asked.folder, asked.steps)))
        return
    found: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as name:
        command = [sys.executable, __file__, "--folder", name, "--steps", str(asked.steps)]
        save_model(Path(name))
        for way in WAYS:
            made = subprocess.run([*command, "--way", way], check=True, stdout=subprocess.PIPE)
            found[way] = json.loads(made.stdout.splitlines()[-1])
            if not asked.json:
                print(f"{way:6}", {key: round(value, 2) for key, value in found[way].items()})
    if asked.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
