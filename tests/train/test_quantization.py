"""A base in 4 bits beside a trained adapter, against PEFT's own layers (QLoRA)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tests.generate.tiny import byte_tokenizer
from tests.rounding import near, rounding
from tests.train.test_lora import outcome
from tests.train.tiny import SETTINGS, rows, tiny_model, train
from torch import Tensor

from assay.config import STARTER_EMBEDDER, FineTune
from assay.errors import ConfigError, ModelError
from assay.models.load import LoadedModel, load, load_to_train
from assay.models.quantization import QuantizedWeight, is_quantized, shape_of
from assay.prefix.pack import Pack
from assay.train import adapters
from assay.train.estimate import bytes_of, training_bytes
from assay.train.fused import fast
from assay.train.sequences import TrainingSequence, alone
from assay.train.step import step

NF4 = FineTune.model_validate({**SETTINGS.model_dump(), "quantization": "nf4"})
SIZES: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("base")
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(made)
    tiny_model(vocab_size=len(tokenizer), **SIZES).save_pretrained(made)
    return made


@pytest.fixture
def loaded(folder: Path) -> LoadedModel:
    return load_to_train(str(folder), "nf4")


def test_only_the_maps_of_the_layers_are_in_4_bits(folder: Path, loaded: LoadedModel) -> None:
    maps = [one for one in loaded.model.modules() if is_quantized(one)]
    plain = load_to_train(str(folder))
    assert len(maps) == 14
    assert loaded.weights_sha256 == plain.weights_sha256
    assert loaded.model.num_parameters() == plain.model.num_parameters()
    assert bytes_of(loaded.model) < 0.4 * bytes_of(plain.model)
    for name, module in plain.model.named_modules():
        mine = loaded.model.get_submodule(name)
        if is_quantized(mine):
            assert shape_of(mine) == shape_of(module)
            dense = QuantizedWeight.of(mine, torch.bfloat16).dense()
            assert dense.dtype == torch.bfloat16
            # The widest gap of NF4 is 0.3 of the block's largest weight.
            assert (dense - module.weight).abs().max() < 0.16 * module.weight.abs().max()
    of_rows = alone(rows(8))
    with adapters.adapt(loaded, NF4) as mine, adapters.adapt(plain, SETTINGS) as theirs:
        needed, dense = (
            training_bytes(model, of_rows, settings)
            for model, settings in ((mine, NF4), (theirs, SETTINGS))
        )
    assert dense <= needed < dense + 2 * 2**20


def test_logits_and_gradients_equal_those_of_peft(loaded: LoadedModel) -> None:
    with adapters.adapt(loaded, NF4) as model:
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data = 0.1 * torch.randn_like(parameter)
        model.train()
        wanted, theirs = outcome(model)
        with model.disable_adapter():
            base = model(input_ids=torch.arange(3, 20)[None]).logits
        with fast(model, torch.float32) as changed:
            assert changed == 14
            logits, ours = outcome(model)
            with model.disable_adapter():
                again = model(input_ids=torch.arange(3, 20)[None]).logits
        torch.testing.assert_close(again, base, **near(base, loaded.model))
        torch.testing.assert_close(logits, wanted, **near(wanted, loaded.model))
        same = rounding(loaded.model, backward=True)
        assert set(ours) == set(theirs)
        for name, gradient in theirs.items():
            assert float((ours[name] - gradient).norm()) <= same * float(gradient.norm()), name
        with torch.autocast("cpu", torch.bfloat16), fast(model, torch.bfloat16):
            narrow, _ = outcome(model)
        torch.testing.assert_close(
            narrow.float(), wanted, **near(wanted, loaded.model, torch.bfloat16)
        )


def test_a_shared_prefix_changes_neither_loss_nor_gradients(loaded: LoadedModel) -> None:
    prefix, of_rows = list(range(3, 43)), rows(8)
    many = [TrainingSequence(prefix + r.ids, [False] * 40 + r.trained) for r in of_rows]
    tree = Pack([row.inputs for row in many], torch.device("cpu"))
    assert tree.ids.numel() == 40 + sum(len(row.inputs) for row in of_rows)
    with adapters.adapt(loaded, NF4) as model:
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data = 0.1 * torch.randn_like(parameter)
        model.train()

        def outcome_of(*steps: list[TrainingSequence]) -> tuple[float, dict[str, Tensor]]:
            """Means over the steps, whose rows have as many trained tokens."""
            model.zero_grad(set_to_none=True)
            with fast(model, torch.float32):
                losses = [step(model, alone(each))[0] for each in steps]
            trained = adapters.trainable(model).items()
            return sum(losses) / len(steps), {
                name: parameter.grad.clone() / len(steps) for name, parameter in trained
            }

        loss, shared = outcome_of(many)
        wanted, apart = outcome_of(*([row] for row in many))
        same = rounding(loaded.model, backward=True)
        assert loss == pytest.approx(wanted, rel=rounding(loaded.model))
        assert len(shared) == 28
        for name, gradient in apart.items():
            assert float((shared[name] - gradient).norm()) <= same * float(gradient.norm()), name


def test_it_is_trained_goes_on_to_the_same_bits_and_is_served_beside_the_whole_base(
    folder: Path, loaded: LoadedModel, tmp_path: Path
) -> None:
    def stop(report: Any) -> None:
        if report.step == 3:
            signal.raise_signal(signal.SIGINT)

    named: Any = {"checkpoint_seconds": 1e9, "compute": "float32"}
    of_rows = rows(16), rows(8, 1), NF4
    whole = train(loaded, *of_rows, tmp_path / "whole", **named)
    losses = [one.validation_loss for one in whole.points if one.validation_loss is not None]
    assert losses[-1] < losses[0]
    with pytest.raises(KeyboardInterrupt):
        train(loaded, *of_rows, tmp_path / "part", **named, on_step=stop)
    part = train(load_to_train(str(folder), "nf4"), *of_rows, tmp_path / "part", **named)
    files = [adapters.weights_file(one.adapter) for one in (whole, part)]
    assert files[0].read_bytes() == files[1].read_bytes()
    config = json.loads((whole.adapter / adapters.CONFIG).read_text())
    assert config["base_model_name_or_path"] == str(folder)
    served = load(str(folder), adapter=whole.adapter)
    assert isinstance(served.model, PeftModel)
    assert not any(map(is_quantized, served.model.modules()))


FETCHING = """
import importlib.machinery, sys, types
asked = []
kernels = types.ModuleType("kernels")
kernels.__spec__ = importlib.machinery.ModuleSpec("kernels", None)
kernels.get_kernel = lambda *given, **named: asked.append(given)
sys.modules["kernels"] = kernels
module, name, given = sys.argv[1:]
getattr(importlib.import_module(module), name)(given)
import peft
assert "bitsandbytes" in sys.modules
assert sys.modules["kernels"] is kernels
assert not asked, asked
"""


@pytest.mark.parametrize(
    ("module", "name"), [("load", "load"), ("load", "load_to_train"), ("embed", "load_embedder")]
)
def test_nothing_is_fetched_and_run_as_it_is_imported(folder: Path, module: str, name: str) -> None:
    """As bitsandbytes does where the package `kernels` is there, on processors with AVX-512."""
    given = STARTER_EMBEDDER if module == "embed" else str(folder)
    command = [sys.executable, "-P", "-c", FETCHING, f"assay.models.{module}", name, given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kernels" not in done.stderr


def test_what_does_not_go_together_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = pytest.raises(ModelError, match="loaded with quantization none")
    with refused, adapters.adapt(load_to_train(str(folder)), NF4):
        pass
    for adapter in ("full", "dora"):
        with pytest.raises(ValueError, match="quantization: nf4 needs adapter: lora or rslora"):
            FineTune(quantization="nf4", adapter=adapter)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match="bitsandbytes") as error:
        load_to_train(str(folder), "nf4")
    assert "assay[qlora]" in str(error.value.fix)
