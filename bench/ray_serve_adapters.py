"""Adapters that say one word each, whatever they are asked; see `bench/ray_serve.py`.

They are written, not trained: all linear maps have factors that hardly count, as in
`bench/fleet_replicas.py`, but for one column of the last one. That adds a direction to the residual
stream which only one token follows, as strongly as an activation is like the mean one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from fleet_replicas import STARTER, WORDS, random_adapter, record_of

SAID = (
    "red", "green", "black", "white", "gold", "paper",
    "window", "water", "stone", "music", "winter", "north",
)  # fmt: skip
"""By each adapter, again and again; with a space before it a word is one token."""
LAST = "model.layers.{}.mlp.down_proj"
STRENGTH = 1000.0
"""Of what the column adds where an activation is the mean one, against an embedding's length."""


def write_adapters(folder: Path) -> list[str]:
    """Put one for each word into the state of a folder; their versions."""
    from assay.generate.base import describe_base
    from assay.models.load import load
    from assay.models.versions import save_version
    from assay.project.workspace import Workspace

    workspace, base, loaded = Workspace(folder), describe_base(STARTER), load(STARTER)
    mean, ids = mean_activation(loaded), []
    for seed, word in enumerate(SAID):
        [token] = loaded.tokenizer.encode(f" {word}", add_special_tokens=False)
        with tempfile.TemporaryDirectory() as made:
            random_adapter(Path(made), base.config.get_text_config(), seed)
            say(Path(made), loaded.model, mean, token)
            ids.append(save_version(workspace.store, Path(made), record_of(base, seed)))
    return ids


def mean_activation(loaded: Any) -> Any:
    """What the last linear map of the last layer is given, over all tokens of a text."""
    import torch

    seen: list[Any] = []
    layers = len(loaded.model.model.layers)
    last = loaded.model.get_submodule(LAST.format(layers - 1))
    hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        text = "<|im_start|>user\n17" + "".join(WORDS * 3) + "<|im_end|>\n<|im_start|>assistant\n"
        loaded.model(torch.tensor([loaded.tokenizer.encode(text + "".join(WORDS[::-1]))]))
    hook.remove()
    activations = seen[0][0, 1:]  # the first token's is like no other
    mean = activations.mean(0)
    assert (activations @ mean > 0).all()
    return mean


def say(folder: Path, model: Any, mean: Any, token: int) -> None:
    """Have an adapter's answers be a token, again and again."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    layers = len(model.model.layers)
    place = f"base_model.model.{LAST.format(layers - 1)}"
    embeddings = model.get_input_embeddings().weight.detach()
    assert (embeddings @ embeddings[token]).argmax() == token
    direction = embeddings[token] / model.model.norm.weight.detach()
    tensors[f"{place}.lora_A.weight"][0] = mean / (mean @ mean)
    tensors[f"{place}.lora_B.weight"][:, 0] = STRENGTH * direction
    save_file({name: one.contiguous() for name, one in tensors.items()}, file)
