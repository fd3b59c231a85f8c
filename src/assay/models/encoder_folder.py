"""Folders of embedders and cross-encoders, as transformers or sentence-transformers saves them.

sentence-transformers names the parts of a model in modules.json: the transformer, whose files are
in the folder itself, and what follows it (pooling, a linear layer), each in a subfolder. A class
that is named there is imported, so only those of a short list are let through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assay import json_reader
from assay.errors import ModelError
from assay.models.trust import check_folder, header, read_json

Kind = Literal["chat", "embedder", "cross-encoder"]
Wanted = Literal["generator", "encoder", "any"]
MODULES = "modules.json"
MOST_MODULES = 16
MOST_MODULES_BYTES = 100_000
"""Of modules.json."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_NEEDED: dict[str, tuple[str, ...]] = {
    "Transformer": (),
    "Pooling": (CONFIG,),
    "Dense": (CONFIG, WEIGHTS),
    "LayerNorm": (CONFIG, WEIGHTS),
    "Dropout": (CONFIG,),
    "LogitScore": (CONFIG,),
    "Normalize": (),
}
"""The classes that may be named, and the files of each that must be there."""
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LOADING = re.compile(r"(model|tokenizer|processor|config)_(args|kwargs|name_or_path)")
"""Settings of sentence_*_config.json that are handed to transformers as it loads the model."""
_ACTIVATION = re.compile(r"torch\.nn\.(modules\.\w+\.)?[A-Z]\w*")
"""A class of torch.nn. sentence-transformers calls whatever of torch is named, and takes another
function than the model's without an error where none is."""
_INSTEAD = "Use a model of transformer, pooling and linear layers, such as all-minilm-l6-v2."


@dataclass(frozen=True, slots=True)
class Module:
    """A part of a model beside its transformer.

    Attributes:
        name: of its class.
        folder: its subfolder.
    """

    name: str
    folder: str

    @property
    def needed(self) -> list[str]:
        """Files without which it would be another one, or none."""
        return [f"{self.folder}/{file}" for file in _NEEDED[self.name]]

    @property
    def files(self) -> list[str]:
        """All files that are read of it, where they are there."""
        return [f"{self.folder}/{file}" for file in (CONFIG, WEIGHTS)]


def read_modules(file: Path, where: str) -> list[Module]:
    """What follows the transformer, from a file modules.json.

    Args:
        where: the model, for the message.

    Raises:
        ModelError: the file is damaged or too large, or names a folder or a class that is not
            taken.
    """
    try:
        if file.stat().st_size > MOST_MODULES_BYTES:
            raise ValueError(f"more than {MOST_MODULES_BYTES} bytes")
        value = json_reader.read(file.read_text(encoding="utf-8"))
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise ValueError("no list of objects")
        if len(value) > MOST_MODULES:
            raise ValueError(f"{len(value)} modules, {MOST_MODULES} are the most")
    except ValueError as error:
        raise ModelError(
            f"its {MODULES} cannot be read ({error}).", where=where, fix="Pull the model again."
        ) from None
    found = [_module(one.get("type"), one.get("path"), where) for one in value]
    return [module for module in found if module is not None]


def _module(kind: Any, folder: Any, where: str) -> Module | None:
    """One of the list; None: the transformer itself."""
    package, _, name = kind.rpartition(".") if isinstance(kind, str) else ("", "", "")
    if package.split(".")[0] != "sentence_transformers" or name not in _NEEDED:
        raise ModelError(
            f"its {MODULES} names a module {kind!r}, which Assay does not load.",
            where=where,
            fix=_INSTEAD,
        )
    if name == "Transformer" and folder == "":
        return None
    if name == "Transformer" or not isinstance(folder, str) or not _FOLDER.fullmatch(folder):
        raise ModelError(
            f"its {MODULES} places the module {name} in {folder!r}: the transformer has to be in "
            "the folder of the model itself, every other module in a folder directly below it.",
            where=where,
            fix=_INSTEAD,
        )
    return Module(name, folder)


def missing_files(modules: Sequence[Module], there: Iterable[str]) -> list[str]:
    """The files of modules that are needed and not among those that are there."""
    known = set(there)
    return [file for module in modules for file in module.needed if file not in known]


def lacks_modules(folder: Path) -> bool:
    """Whether modules that its modules.json names are not there: it was fetched as a generator."""
    file = folder / MODULES
    if not file.is_file():
        return False
    modules = read_modules(file, str(folder))
    return any(not (folder / name).is_file() for one in modules for name in one.needed)


def check_wanted(folder: Path, wanted: Wanted) -> None:
    """Refuse a model folder that must not be loaded, or is not for this.

    Args:
        wanted: a `generator` continues text, an `encoder` is an embedder or a cross-encoder; `any`:
            whatever it was made for.

    Raises:
        ModelError: see `check_encoder` and `trust.check_folder`.
    """
    if wanted == "generator" or (wanted == "any" and kind_of(folder) == "chat"):
        check_folder(folder)
    else:
        check_encoder(folder)


def check_encoder(folder: Path) -> None:
    """Refuse a folder that is no encoder, or must not be loaded.

    Raises:
        ModelError: no model, custom code, pickles, damaged weights, an unknown architecture, an
            adapter of another model, a module that is missing or not taken.
    """
    config = check_folder(folder, causal=False)
    if not _is_text_model(config.get("model_type")):
        from transformers import __version__

        raise ModelError(
            f"the architecture {config.get('model_type')!r} is no text encoder that transformers "
            f"{__version__} knows.",
            where=str(folder / CONFIG),
            fix="Use an embedder or a cross-encoder for texts, or a newer transformers if this one "
            "is very new.",
        )
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            "this is an adapter (adapter_config.json), which would load another model, too.",
            where=str(folder),
            fix="Merge it into its base model and use the result.",
        )
    own = config.get("sentence_transformers")
    for holder, key in (
        (own if isinstance(own, dict) else {}, "activation_fn"),
        (config, "sbert_ce_default_activation_function"),
    ):
        _check_activation(folder / CONFIG, holder.get(key))
    for file in folder.glob("sentence_*_config.json"):
        set_there = [key for key, value in read_json(file).items() if _LOADING.match(key) and value]
        if set_there:
            raise ModelError(
                f"it changes how transformers loads it ({', '.join(sorted(set_there))}), which "
                "Assay does not let a model do.",
                where=str(file),
                fix="Remove these settings if the model does without them, or use another one.",
            )
    if (folder / MODULES).is_file():
        _check_modules(folder, read_modules(folder / MODULES, str(folder)))


def _check_modules(folder: Path, modules: Sequence[Module]) -> None:
    there = [name for one in modules for name in one.files if (folder / name).is_file()]
    if missing := missing_files(modules, there):
        raise ModelError(
            f"{', '.join(missing)} missing, which {MODULES} names (weights are read from "
            "safetensors only).",
            where=str(folder),
            fix="Pull the model again, or use a version of it that is complete.",
        )
    for name in there:
        if name.endswith(WEIGHTS):
            header(folder / name)
        else:
            _check_activation(folder / name, read_json(folder / name).get("activation_function"))


def _check_activation(file: Path, name: Any) -> None:
    if name is not None and not (isinstance(name, str) and _ACTIVATION.fullmatch(name)):
        raise ModelError(
            f"the activation function {name!r} is not one of torch.nn.",
            where=str(file),
            fix=_INSTEAD,
        )


def kind_of(folder: Path) -> Kind:
    """What a model folder was made for, from its settings; nothing is checked.

    Raises:
        ModelError: it has no config.json that can be read.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    config = read_json(folder / CONFIG)
    if (folder / MODULES).is_file():
        settings = folder / "config_sentence_transformers.json"
        made_for = read_json(settings).get("model_type") if settings.is_file() else None
        return "cross-encoder" if made_for == "CrossEncoder" else "embedder"
    model_type, names = config.get("model_type"), config.get("architectures")
    saved_as = str(names[0]) if isinstance(names, list) and names else ""
    if saved_as.endswith("ForSequenceClassification"):
        return "cross-encoder"
    if not _is_text_model(model_type):
        return "chat"
    # BERT and its like can be built to continue text; few are.
    both = model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    return "chat" if causal is not None and (saved_as == causal or not both) else "embedder"


def _is_text_model(model_type: Any) -> bool:
    from transformers.models.auto import modeling_auto as known

    return isinstance(model_type, str) and any(
        model_type in names
        for names in (
            known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
            known.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
            known.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
            known.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
        )
    )
