"""A version becomes a model that answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny import SETTINGS

from assay.errors import ModelError
from assay.models.load import load
from assay.models.tuned import load_tuned, merge
from assay.models.versions import VersionRecord, load_version, save_version
from assay.store.store import Store
from assay.train import adapters

IDS = [5, 6, 7, 8, 9, 10]


def _tuned(folder: Path, state: Path, adapter: str) -> tuple[str, torch.Tensor]:
    """A version of the model in `folder` and the logits it had while it was trained."""
    loaded = load(str(folder))
    own = {"embeddings": "train"} if adapter == "embeddings" else {"adapter": adapter}
    settings = SETTINGS.model_copy(update=own)
    with adapters.adapt(loaded, settings) as model:
        generator = torch.Generator().manual_seed(1)
        for parameter in adapters.trainable(model).values():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        made = state / "made"
        made.mkdir(parents=True)
        adapters.write(made, model, adapters.weights(model))
        record = VersionRecord(
            base=str(folder),
            base_sha256=loaded.weights_sha256,
            data={},
            settings={},
            seed=0,
            code="0",
            template={},
            template_sha256="",
        )
        return save_version(Store(state), made, record), _logits(model)


def _logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(input_ids=torch.tensor([IDS])).logits
    return logits


@pytest.mark.parametrize("adapter", ["lora", "rslora", "dora", "embeddings", "full"])
def test_a_version_of_every_kind_answers_as_it_was_trained(
    model_folder: Path, tmp_path: Path, adapter: str
) -> None:
    id, wanted = _tuned(model_folder, tmp_path / "state", adapter)
    version = load_version(Store(tmp_path / "state"), id)
    assert version.whole == (adapter == "full")
    assert len(list(version.folder.iterdir())) == 3
    loaded = load_tuned(version)
    torch.testing.assert_close(_logits(loaded.model), wanted)
    assert not torch.allclose(_logits(load(str(model_folder)).model), wanted, atol=1e-2)
    done = merge(loaded, [IDS], "bfloat16")
    assert done.dtype == "bfloat16"
    assert {p.dtype for p in done.model.parameters()} == {torch.bfloat16}
    torch.testing.assert_close(_logits(done.model).float(), wanted, rtol=0.05, atol=0.1)
    assert (done.ref, done.context_length) == (str(model_folder), 256)


def test_rounding_happens_once_after_the_sum(model_folder: Path, tmp_path: Path) -> None:
    id, _ = _tuned(model_folder, tmp_path / "state", "lora")
    version = load_version(Store(tmp_path / "state"), id)
    exact = merge(load_tuned(version), [IDS], "float32").model.state_dict()
    rounded = merge(load_tuned(version), [IDS], "bfloat16").model.state_dict()
    assert all(torch.equal(exact[name].bfloat16(), rounded[name]) for name in exact)


def test_an_adapter_on_other_weights_than_it_was_trained_on_is_refused(
    model_folder: Path, tmp_path: Path
) -> None:
    id, _ = _tuned(model_folder, tmp_path / "state", "lora")
    version = load_version(Store(tmp_path / "state"), id)
    other = replace(version, record=version.record.model_copy(update={"base_sha256": "0" * 64}))
    with pytest.raises(ModelError, match="base weights are not the ones"):
        load_tuned(other)


def test_a_whole_version_that_brings_code_is_refused(model_folder: Path, tmp_path: Path) -> None:
    _tuned(model_folder, tmp_path / "state", "full")
    file = tmp_path / "state" / "made" / "config.json"
    config = {**json.loads(file.read_text()), "auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    file.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="its own code"):
        load(str(model_folder), weights=file.parent)


def test_a_fully_tuned_model_that_was_changed_is_noticed(
    model_folder: Path, tmp_path: Path
) -> None:
    id, _ = _tuned(model_folder, tmp_path / "state", "full")
    file = tmp_path / "state" / "versions" / id / "model.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 1
    file.unlink()
    file.write_bytes(raw)
    with pytest.raises(
        ModelError, match=r"model\.safetensors: this file has changed since it was saved"
    ):
        load_version(Store(tmp_path / "state"), id)
