"""Which linear maps of a decoder get an adapter: all of them, or those that the settings name; and
the layers beside them that are trained whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from assay.config import CONFIG_FILE, FineTune
from assay.errors import ModelError


def embedding_layers(model: nn.Module) -> dict[str, Any]:
    """Input embeddings and head by name; where they are tied, both have one weight."""
    own = model.get_input_embeddings(), model.get_output_embeddings()  # type: ignore[operator]
    return {name: module for name, module in model.named_modules() if module in own}


def linear_maps(model: nn.Module) -> dict[str, Any]:
    """The linear maps of a decoder by name, not the head."""
    beside = {part for layer in embedding_layers(model).values() for part in layer.modules()}
    return {
        name: module
        for name, module in model.named_modules()
        if module not in beside
        and hasattr(module, "weight")
        and module.weight.dim() == 2
        and not isinstance(module, nn.Embedding)
        and ".lora_" not in name
        and not hasattr(module, "base_layer")
    }


def target_maps(model: nn.Module, settings: FineTune) -> list[Any]:
    """The linear maps that get an adapter."""
    maps, wanted = linear_maps(model), settings.target_modules
    if wanted == "all-linear":
        return [*maps.values()]
    return [module for name, module in maps.items() if any(matches(name, one) for one in wanted)]


def matches(name: str, wanted: str) -> bool:
    """Whether a module is named by a setting: its whole name, or the end of it."""
    return name == wanted or name.endswith(f".{wanted}")


def check_targets(model: nn.Module, wanted: Sequence[str]) -> None:
    """Refuse a name that no linear map has.

    Raises:
        ModelError: it says which there are.
    """
    maps = linear_maps(model)
    for one in wanted:
        if not any(matches(name, one) for name in maps):
            there = sorted({name.rpartition(".")[2] for name in maps})
            raise ModelError(
                f"this model has no linear map {one!r}.",
                where=f"{CONFIG_FILE}, fine_tune.target_modules",
                fix=f"Choose from: {', '.join(there)}.",
            )
