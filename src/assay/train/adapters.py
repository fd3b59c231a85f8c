"""What is trained: an adapter beside the frozen weights, or all weights.

    lora    a low-rank product B·A beside linear maps, times alpha / rank (Hu et al. 2021,
            arXiv:2106.09685); B starts at zero, so that training starts from the base exactly
    rslora  the same times alpha / √rank, so that a high rank learns (Kalajdzievski 2023,
            arXiv:2312.03732)
    dora    lora, and the length of every row of the sum is learned (Liu et al. 2024,
            arXiv:2402.09353)
    full    all weights, in a float32 copy of the model

With `embeddings: train`, copies of the input embeddings and of the head are trained whole beside
the adapter (PEFT's `modules_to_save`), as one tensor where the base has them tied.

Adapters are PEFT's, put on a model and taken off again, and written as PEFT reads them. A fully
tuned model is written as transformers reads it. All that is trained is float32.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from assay import json_reader
from assay.config import FineTune
from assay.errors import ModelError, first_line
from assay.models import versions
from assay.models.load import LoadedModel
from assay.models.quiet import exclusive_loading
from assay.train.sequences import TrainingSequence
from assay.train.step import hidden_states
from assay.train.targets import check_targets, embedding_layers

CONFIG, WEIGHTS = versions.ADAPTER_CONFIG, versions.ADAPTER
_NAME = "default"
_MAGNITUDE = ".lora_magnitude_vector"
_WHOLE = ".modules_to_save"


@contextmanager
def adapt(loaded: LoadedModel, settings: FineTune) -> Iterator[nn.Module]:
    """The model to train: what `settings.adapter` says is float32 and trainable, nothing else.

    An adapter is on the linear maps of the decoder that `settings.target_modules` names, never on
    the head; its start is drawn with `settings.seed`. On leaving, `loaded` is as it was.

    Raises:
        ModelError: the model has an adapter already, no such linear maps, or embeddings and a head
            that cannot be trained beside one.
    """
    if hasattr(loaded.model, "peft_config"):
        raise ModelError(
            "the model already has an adapter, but training must start from base weights.",
            where=loaded.ref,
            fix="Load it without an adapter.",
        )
    if settings.quantization != loaded.quantization:
        raise ModelError(
            f"the base is loaded with quantization {loaded.quantization}, but the settings say "
            f"{settings.quantization}.",
            where=loaded.ref,
            fix="Load it with `load_to_train(ref, settings.quantization)`.",
        )
    if settings.adapter == "full":
        # deepcopy keeps the head and the embeddings one tensor where they are tied.
        model = copy.deepcopy(loaded.model).float()
        model.config.dtype = torch.float32
        yield model.requires_grad_(True)
    else:
        with _beside(loaded, settings) as model:
            yield model


@contextmanager
def _beside(loaded: LoadedModel, settings: FineTune) -> Iterator[nn.Module]:
    from peft import LoraConfig, get_peft_model

    base = loaded.model
    if settings.target_modules != "all-linear":
        check_targets(base, settings.target_modules)
    before = _embeddings_form(base)
    layers = embedding_layers(base) if settings.embeddings == "train" else {}
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.adapter == "rslora",
        use_dora=settings.adapter == "dora",
        target_modules=settings.target_modules,
        bias="none",
        task_type="CAUSAL_LM",
        modules_to_save=[*layers] or None,
        ensure_weight_tying=bool(layers) and before.tied,
    )
    modules = dict(base.named_modules(remove_duplicate=False))
    frozen = {name: p.requires_grad for name, p in base.named_parameters()}
    try:
        with torch.random.fork_rng(devices=[]), exclusive_loading():
            torch.manual_seed(settings.seed)
            try:
                model = get_peft_model(base, config, adapter_name=_NAME)
                config.base_model_name_or_path = loaded.ref  # PEFT has put a folder of this machine
            except ValueError as error:
                raise ModelError(
                    f"no adapter can be added to this model ({first_line(error)}).",
                    where=loaded.ref,
                    fix="Choose a decoder of linear layers, such as the starter model, or "
                    "fine_tune.adapter: full.",
                ) from None
        if _embeddings_form(base) != before:
            raise ModelError(
                "embeddings and head of this model cannot be trained beside an adapter: they would "
                "no longer share what they share.",
                where=loaded.ref,
                fix="Set fine_tune.embeddings: frozen, or adapter: full.",
            )
        for parameter in trainable(model).values():
            parameter.data = parameter.data.float()
        yield model
    finally:
        # Module by module: PEFT's `unload` leaves whole layers where they are, and is not there
        # when memory has run out halfway.
        for name, module in modules.items():
            parent, _, last = name.rpartition(".")
            if name:
                setattr(modules[parent], last, module)
        if hasattr(base, "peft_config"):
            del base.peft_config
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(frozen[name])
        base.eval()


class _EmbeddingsForm(NamedTuple):
    """Whether the head has the weight of the embeddings, and whether it adds a bias."""

    tied: bool
    biased: bool


def _embeddings_form(base: Any) -> _EmbeddingsForm:
    head = base.get_output_embeddings()
    tied = head.weight is base.get_input_embeddings().weight
    return _EmbeddingsForm(tied, getattr(head, "bias", None) is not None)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained by the names it has in the file that is written, in the model's order.

    Tied weights are one parameter, under the name of the embeddings.
    """
    return {_file_name(n): p for n, p in model.named_parameters() if p.requires_grad}


def _file_name(name: str) -> str:
    """PEFT's file leaves out the adapter's name, of DoRA's lengths `.weight`, too, and of a whole
    layer that it is one."""
    if f"{_MAGNITUDE}.{_NAME}." in name:
        return name.removesuffix(f".{_NAME}.weight")
    return name.replace(f"{_WHOLE}.{_NAME}.", ".").replace(f".{_NAME}.", ".")


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of what is trained on the CPU."""
    return {name: p.detach().cpu().clone() for name, p in trainable(model).items()}


def set_weights(model: nn.Module, values: dict[str, Tensor]) -> None:
    """Copy values that `weights` has returned into the model's trainable parameters."""
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(values[name])


def write(folder: Path, model: nn.Module, values: dict[str, Tensor]) -> None:
    """Write `values` into an existing folder as PEFT (all of a model: as transformers) reads it.

    Equal weights give equal bytes.
    """
    from safetensors.torch import save_file

    if _is_adapter(model):
        config: dict[str, Any] = model.peft_config[_NAME].to_dict()  # type: ignore[index,union-attr]
        config["inference_mode"] = True
        if config["modules_to_save"]:
            # PEFT leaves out one that is tied, and then ties only what it knows by its name.
            config["modules_to_save"] = [*embedding_layers(model.get_base_model())]  # type: ignore[operator]
        names = versions.ADAPTER_CONFIG, versions.ADAPTER
        values = _under_all_names(model, values)
    else:
        config = json_reader.read(model.config.to_json_string())  # type: ignore[union-attr,operator]
        config["architectures"] = [type(model).__name__]
        names = versions.MODEL_CONFIG, versions.MODEL
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    text = json.dumps(plain, indent=2, sort_keys=True) + "\n"
    (folder / names[0]).write_text(text, "utf-8")
    save_file(values, folder / names[1], metadata={"format": "pt"})


def _under_all_names(model: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """PEFT reads a head that is tied to the embeddings under a name of its own, too."""
    first = {parameter: name for name, parameter in trainable(model).items()}
    named = model.named_parameters(remove_duplicate=False)
    names = {_file_name(name): first[p] for name, p in named if p.requires_grad}
    return {
        name: values[own] if name == own else values[own].clone() for name, own in names.items()
    }


def read(folder: Path) -> dict[str, Tensor]:
    """The values that `write` has put into a folder."""
    from safetensors.torch import load_file

    found: dict[str, Tensor] = load_file(weights_file(folder))
    return found


def weights_file(folder: Path) -> Path:
    """The weights among what `write` has left in a folder."""
    return folder / (versions.MODEL if versions.is_whole(folder) else versions.ADAPTER)


@contextmanager
def as_base(model: nn.Module, loaded: LoadedModel) -> Iterator[None]:
    """Within the block, the model computes what the base does, nothing else being changed.

    Args:
        loaded: what `model` was made from by `adapt`.
    """
    if _is_adapter(model):
        with model.disable_adapter():  # type: ignore[operator]
            yield
        return
    start = dict(loaded.model.named_parameters())
    tuned = {name: parameter.data for name, parameter in model.named_parameters()}
    try:
        for name, parameter in model.named_parameters():
            parameter.data = start[name].data.to(parameter.dtype)
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.data = tuned[name]


def _is_adapter(model: nn.Module) -> bool:
    return hasattr(model, "peft_config")


def check_effect(model: nn.Module, loaded: LoadedModel, sequence: TrainingSequence) -> None:
    """Compare hidden states with those of the base on one row.

    Raises:
        ModelError: they are equal; training has changed nothing.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            tuned_hidden = hidden_states(model, sequence.ids)
            with as_base(model, loaded):
                base_hidden = hidden_states(model, sequence.ids)
    finally:
        model.train(was_training)
    if torch.equal(tuned_hidden, base_hidden):
        raise ModelError(
            "training had no effect: the model's outputs are those of the base.",
            fix="Raise fine_tune.learning_rate or fine_tune.epochs.",
        )
