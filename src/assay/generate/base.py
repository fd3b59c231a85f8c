"""A base model known without its weights, and a version of it as one loaded model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.chat.template import Template
from assay.example import Message
from assay.models.gguf_export import refusal
from assay.models.load import LoadedModel, load_tokenizer, weights_sha256
from assay.models.pull import pull
from assay.models.tuned import PROBES, check_base, load_tuned, merge
from assay.models.versions import LocalVersion, Version


@dataclass(frozen=True, slots=True)
class BaseDescription:
    """A base model, known without its weights.

    Attributes:
        folder: config.json, safetensors, tokenizer.
        config: transformers' PreTrainedConfig.
        weights_sha256: see `models.load`.
        refusal: why llama.cpp cannot hold it; None where it can.
    """

    ref: str
    folder: Path
    config: Any
    tokenizer: Any
    template: Template
    context_length: int
    weights_sha256: str
    refusal: str | None


def describe_base(ref: str) -> BaseDescription:
    """Fetch the model `ref` and look at it.

    Raises:
        ModelError: see `models.load`.
    """
    from transformers import AutoConfig

    folder = pull(ref)
    tokenizer, context = load_tokenizer(ref)
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return BaseDescription(
        ref=ref,
        folder=folder,
        config=config,
        tokenizer=tokenizer,
        template=Template.of(tokenizer),
        context_length=context,
        weights_sha256=weights_sha256(folder),
        refusal=refusal(config),
    )


def load_merged(version: LocalVersion, template: Template, dtype: str) -> LoadedModel:
    """The version without an adapter beside it, its merge measured; see `models.tuned.merge`."""
    rows = [template.prompt([Message("user", text)]) for text in PROBES]
    return merge(load_tuned(version), rows, dtype)


def load_version_template(version: Version, base: BaseDescription) -> Template:
    """The template the version was trained with.

    Raises:
        ModelError: the base is no longer the one it was trained from.
    """
    check_base(version, base.weights_sha256)
    return Template.from_dict(base.tokenizer, version.record.template)
