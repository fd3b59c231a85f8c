"""LoRA adapters: put on a model, taken off again, written as PEFT reads them.

LoRA (Hu et al. 2021, arXiv:2106.09685) learns a low-rank product B·A beside every frozen linear
map; B starts at zero, so that training starts from the base model exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from assay.config import FineTune
from assay.errors import ModelError
from assay.models.load import LoadedModel
from assay.models.quiet import quiet
from assay.train.sequences import TrainingSequence
from assay.train.step import hidden_states

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_NAME = "default"


@contextmanager
def adapted(loaded: LoadedModel, settings: FineTune) -> Iterator[nn.Module]:
    """The model with a fresh adapter on every linear map of the decoder, the head left alone.

    The adapter is float32 whatever the base is, its start is drawn with `settings.seed`, and only
    the adapter is trainable. On leaving, the base model is as it was, without an adapter.

    Raises:
        ModelError: the model has an adapter already, or no linear maps.
    """
    from peft import LoraConfig, get_peft_model

    base = loaded.model
    if hasattr(base, "peft_config"):
        raise ModelError(
            "the model carries an adapter already; training starts from base weights.",
            where=loaded.ref,
            fix="Load it without an adapter.",
        )
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        bias="none",
        task_type="CAUSAL_LM",
    )
    frozen = {name: p.requires_grad for name, p in base.named_parameters()}
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(settings.seed)
        try:
            model = get_peft_model(base, config, adapter_name=_NAME)
            config.base_model_name_or_path = loaded.ref  # PEFT has put a folder of this machine
        except ValueError as error:
            raise ModelError(
                f"no adapter can be put on this model ({str(error).splitlines()[0]}).",
                where=loaded.ref,
                fix="Choose a decoder of linear layers, such as the starter model.",
            ) from None
    try:
        for parameter in trainable(model).values():
            parameter.data = parameter.data.float()
        yield model
    finally:
        model.unload()
        if hasattr(base, "peft_config"):
            del base.peft_config
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(frozen[name])
        base.eval()


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The adapter's parameters by the names they have in a PEFT file, in the model's order."""
    return {
        name.replace(f".{_NAME}.", "."): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the adapter on the CPU."""
    return {name: p.detach().cpu().clone() for name, p in trainable(model).items()}


def set_weights(model: nn.Module, values: dict[str, Tensor]) -> None:
    """The inverse of `weights`."""
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(values[name])


def write_adapter(folder: Path, model: nn.Module, values: dict[str, Tensor]) -> None:
    """Write `values` into an existing folder as PEFT reads it; equal weights give equal bytes."""
    from safetensors.torch import save_file

    config: dict[str, Any] = model.peft_config[_NAME].to_dict()  # type: ignore[index,union-attr]
    config["inference_mode"] = True
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    (folder / CONFIG).write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n", "utf-8")
    save_file(values, folder / WEIGHTS, metadata={"format": "pt"})


def check_effect(model: nn.Module, sequence: TrainingSequence) -> None:
    """Compare hidden states with and without the adapter on one row.

    Raises:
        ModelError: they are equal; training has changed nothing.
    """
    ids = torch.tensor([sequence.ids], device=next(model.parameters()).device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            adapted_hidden = hidden_states(model, ids)
            with model.disable_adapter():  # type: ignore[operator]
                base_hidden = hidden_states(model, ids)
    finally:
        model.train(was_training)
    if torch.equal(adapted_hidden, base_hidden):
        raise ModelError(
            "the adapter has no effect: the model's outputs are those of the base.",
            fix="Raise fine_tune.learning_rate or fine_tune.epochs.",
        )
