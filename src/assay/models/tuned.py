"""A fine-tuned version as a model that answers: no slower than its base, and what was trained.

An adapter is added to the base weights in float32 and then cast, so that rounding happens once.
Whether the sum answers as base and adapter side by side is measured each time, on probe rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from assay.errors import ModelError
from assay.models.load import LoadedModel, load
from assay.models.versions import LocalVersion, Version

MERGE_KL = 1e-5
"""Most that a merged model may differ: KL in nats at any token. Measured: below 1e-9."""

PROBES = (
    "Where is my card? I ordered it two weeks ago, and nobody answers.",
    'Return JSON: {"name": "Ann", "total": 41.50, "items": [1, 2, 3]}',
    "Übersetze: naïve café, 東京, 100 %; then list every step in order:\n1. open\n2. check\n",
)
"""What a merge is measured on: letters, digits, punctuation and scripts of several kinds."""


def load_tuned(version: LocalVersion) -> LoadedModel:
    """The version in float32, its adapter (if it is one) beside the base weights.

    Raises:
        ModelError: as `load`, or the base is no longer the one it was trained from.
    """
    record = version.record
    if version.whole:
        return load(record.base, dtype="float32", weights=version.folder)
    loaded = load(record.base, dtype="float32", adapter=version.folder)
    check_base(version, loaded.weights_sha256)
    return loaded


def check_base(version: Version, weights_sha256: str) -> None:
    """Raise where the weights of its base are others than those it was trained from.

    Raises:
        ModelError: they are.
    """
    if weights_sha256 != version.record.base_sha256:
        raise ModelError(
            "the base weights are not the ones this version was trained from.",
            where=version.record.base,
            fix="Pull the same base model again, or train the version again.",
        )


def merge(tuned: LoadedModel, rows: Sequence[Sequence[int]], dtype: str) -> LoadedModel:
    """The model in `dtype` without an adapter beside it; `tuned` is used up.

    Args:
        tuned: float32, see `load_tuned`.
        rows: token ids of prompts as the model will see them, to measure the merge on.
        dtype: of the result.

    Raises:
        ModelError: the merged model would answer otherwise than base and adapter (`MERGE_KL`).
    """
    import torch
    from peft import PeftModel

    model: Any = tuned.model
    if isinstance(model, PeftModel):
        beside = [_log_probabilities(model, ids) for ids in rows]
        base = model.get_base_model()
        with model.disable_adapter():  # as it was before an adapter was put on
            tied = _tied(base)
        model = model.merge_and_unload()
        divergences = []
        for before, ids in zip(beside, rows, strict=True):
            after = _log_probabilities(model, ids)
            divergences.append((after.exp() * (after - before)).sum(-1).max())
        divergence = float(torch.stack(divergences).max())
        if not divergence <= MERGE_KL:  # NaN is refused, too
            raise ModelError(
                f"merged into its base model, this adapter gives other answers (KL "
                f"{divergence:.2g} nats per token; at most {MERGE_KL:g} is allowed).",
                where=tuned.ref,
                fix="Train it again with a lower fine_tune.learning_rate: values this large lose "
                "precision when they are added.",
            )
        if _tied(model) != tied:
            raise ModelError(
                "the merge has separated the head from the embeddings it shares its weights with.",
                where=tuned.ref,
                fix="Choose fine_tune.adapter: lora with embeddings: frozen.",
            )
    return replace(tuned, model=model.to(getattr(torch, dtype)), dtype=dtype)


def _log_probabilities(model: Any, ids: Sequence[int]) -> Any:
    """[T, V], float64."""
    import torch

    device = next(model.parameters()).device
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([list(ids)], device=device)).logits[0]
    return logits.double().log_softmax(-1)


def _tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight
