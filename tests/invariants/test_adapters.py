"""What is trained is what answers: written and read, merged, tied, and never without effect."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rounding import near, rounding
from tests.train.tiny import SETTINGS, rows, tiny_loaded, tiny_model, train
from torch import Tensor, nn

from assay.errors import ModelError
from assay.models.tuned import MERGE_KL, merge
from assay.train import adapters
from assay.train.sequences import alone
from assay.train.step import step

BESIDE = ["lora", "rslora", "dora", "embeddings"]
EVERY = [*BESIDE, "full"]
IDS = torch.arange(3, 23)[None]


def _settings(adapter: str, **changes: Any) -> Any:
    own = {"embeddings": "train"} if adapter == "embeddings" else {"adapter": adapter}
    return SETTINGS.model_copy(update={**own, **changes})


def _randomise(model: nn.Module) -> None:
    """As far from the base as a long training brings it."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in adapters.trainable(model).items():
        noise = torch.randn(parameter.shape, generator=generator)
        if "lora_B" in name:
            parameter.data = 0.2 * noise
        elif "magnitude" in name:
            parameter.data *= 1 + 0.3 * noise
        elif "lora_A" not in name:
            parameter.data *= 1 + 0.1 * noise


def _logits(model: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(input_ids=IDS).logits
    return logits


@pytest.mark.slow
def test_peft_reads_an_adapter_to_the_same_logits_in_a_fresh_process(tmp_path: Path) -> None:
    base = tiny_loaded()
    base.model.save_pretrained(tmp_path / "base")
    plain = _logits(base.model)
    ours = {}
    for adapter in BESIDE:
        with adapters.adapt(base, _settings(adapter)) as model:
            _randomise(model)
            ours[adapter] = _logits(model)
            (tmp_path / adapter).mkdir()
            adapters.write(tmp_path / adapter, model, adapters.weights(model))
    script = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
folder = sys.argv[1]
found = {}
for adapter in sys.argv[2:]:
    base = AutoModelForCausalLM.from_pretrained(f"{folder}/base")
    model = PeftModel.from_pretrained(base, f"{folder}/{adapter}").eval()
    with torch.no_grad():
        found[adapter] = model(input_ids=torch.arange(3, 23)[None]).logits
torch.save(found, f"{folder}/logits.pt")
"""
    command = [sys.executable, "-W", "error::UserWarning", "-c", script, str(tmp_path), *BESIDE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    theirs = torch.load(tmp_path / "logits.pt", weights_only=True)
    for adapter in BESIDE:
        same = near(ours[adapter], tiny_model())
        torch.testing.assert_close(theirs[adapter], ours[adapter], **same)
        assert not torch.allclose(theirs[adapter], plain, atol=1e-2)
    assert not torch.allclose(ours["lora"], ours["rslora"], atol=1e-2)
    assert not torch.allclose(ours["lora"], ours["dora"], atol=1e-2)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("adapter", BESIDE)
def test_a_merged_adapter_answers_as_beside_its_base(
    tmp_path: Path, adapter: str, tied: bool
) -> None:
    from transformers import AutoModelForCausalLM

    loaded = tiny_loaded(tie_word_embeddings=tied)
    with adapters.adapt(loaded, _settings(adapter)) as model:
        _randomise(model)
        beside = _logits(model)
        done = merge(replace(loaded, model=model), IDS.tolist(), "float32")
        logits = _logits(done.model)
        torch.testing.assert_close(logits, beside, **near(beside, loaded.model))
        assert not any("lora" in name for name, _ in done.model.named_parameters())
        done.model.save_pretrained(tmp_path / "merged")
        again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
        torch.testing.assert_close(_logits(again), logits, **near(logits, again))
        kept, written = done.model.state_dict(), again.state_dict()
        assert all(torch.equal(kept[name], written[name]) for name in kept.keys() | written.keys())
        for found in (done.model, again):
            assert _tied(found) == tied


def _tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_tied_layers_are_read_tied_whatever_they_are_called(tmp_path: Path, family: str) -> None:
    """PEFT knows tied layers by names that these families do not use for their embeddings."""
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 97}
    ends = {"bos_token_id": 2, "eos_token_id": 2}
    config = AutoConfig.for_model(family, tie_word_embeddings=True, **sizes, **ends)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    loaded = replace(tiny_loaded(), model=model)
    fresh = copy.deepcopy(loaded.model)
    plain = _logits(fresh)
    with adapters.adapt(loaded, _settings("embeddings")) as model:
        _randomise(model)
        beside = _logits(model)
        adapters.write(tmp_path, model, adapters.weights(model))
    again = PeftModel.from_pretrained(fresh, tmp_path).eval()
    same = near(beside, loaded.model)
    torch.testing.assert_close(_logits(again), beside, **same)
    with again.disable_adapter():
        torch.testing.assert_close(_logits(again), plain, **same)
    merged = merge(replace(loaded, model=again), IDS.tolist(), "float32").model
    torch.testing.assert_close(_logits(merged), beside, **same)
    assert _tied(merged)


def _divergence(factor: float, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What is said to a merge that gets every weight wrong by a factor."""
    from peft.tuners.lora.layer import Linear

    real = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda *a: real(*a) * factor)
    loaded = tiny_loaded()
    with adapters.adapt(loaded, _settings("lora")) as model:
        _randomise(model)
        try:
            merge(replace(loaded, model=model), IDS.tolist(), "bfloat16")
        except ModelError as error:
            return str(error)
    return None


@pytest.mark.parametrize("factor", [1.01, 0.0, float("nan")])
def test_a_merge_that_changes_the_answers_is_refused(
    monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    said = _divergence(factor, monkeypatch)
    assert said is not None
    assert f"at most {MERGE_KL:g}" in said
    assert "fine_tune.learning_rate" in said


def test_a_right_merge_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _divergence(1.0, monkeypatch) is None


@pytest.mark.parametrize("adapter", EVERY)
def test_training_without_effect_is_an_error(tmp_path: Path, adapter: str) -> None:
    settings = _settings(adapter, learning_rate=1e-30, epochs=1)
    with pytest.raises(ModelError, match="no effect"):
        train(tiny_loaded(), rows(4), rows(2, 1), settings, tmp_path, compute="float32")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("tied", [True, False])
def test_all_weights_have_the_gradient_of_plain_transformers(tied: bool) -> None:
    """Tied weights are one: its gradient has the part of the head and that of the embeddings."""
    row = rows(1)[0]
    loaded = tiny_loaded(tie_word_embeddings=tied)
    with adapters.adapt(loaded, _settings("full")) as model:
        assert ("lm_head.weight" in adapters.trainable(model)) != tied
        labels = [i if t else -100 for i, t in zip(row.ids, row.trained, strict=True)]
        model(input_ids=torch.tensor([row.ids]), labels=torch.tensor([labels])).loss.backward()
        plain = {n: p.grad.clone() for n, p in adapters.trainable(model).items()}  # type: ignore[union-attr]
        model.zero_grad(set_to_none=True)
        step(model, alone([row]))
        for name, parameter in adapters.trainable(model).items():
            assert parameter.grad is not None
            distance = (parameter.grad - plain[name]).norm() / plain[name].norm()
            assert float(distance) <= rounding(loaded.model, backward=True), name


@pytest.mark.parametrize("tied", [True, False])
def test_a_fully_tuned_model_is_written_whole_and_read_by_transformers(
    tmp_path: Path, tied: bool
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    loaded = tiny_loaded(tie_word_embeddings=tied)
    with adapters.adapt(loaded, _settings("full")) as model:
        _randomise(model)
        ours = _logits(model)
        adapters.write(tmp_path, model, adapters.weights(model))
    assert ("lm_head.weight" in load_file(adapters.weights_file(tmp_path))) != tied
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(_logits(again), ours, **near(ours, again))
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == tied


def test_all_weights_are_trained_in_float32_beside_an_untouched_base() -> None:
    loaded = tiny_loaded()
    loaded.model.to(torch.bfloat16)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    with adapters.adapt(replace(loaded, dtype="bfloat16"), _settings("full")) as model:
        assert {p.dtype for p in adapters.trainable(model).values()} == {torch.float32}
        assert adapters.trainable(model).keys() == dict(loaded.model.named_parameters()).keys()
        start = _logits(model)
        _randomise(model)
        tuned = _logits(model)
        with adapters.as_base(model, loaded):
            assert torch.equal(_logits(model), start)
        assert torch.equal(_logits(model), tuned)
        assert not torch.allclose(tuned, start, atol=1e-2)
    assert all(torch.equal(before[n], v) for n, v in loaded.model.state_dict().items())


@pytest.mark.parametrize("adapter", EVERY)
def test_activations_computed_twice_change_no_gradient(adapter: str) -> None:
    from assay.train.choices import Choices

    found = []
    for again in (False, True):
        loaded = tiny_loaded()
        choices = Choices("float32", torch.get_num_threads(), again)
        settings = _settings(adapter, dropout=0.3 if adapter != "full" else 0.0)
        with adapters.adapt(loaded, settings) as model, choices.apply(model):
            _randomise(model)
            model.train()
            torch.manual_seed(5)
            loss, _ = step(model, alone(rows(6)))
            found.append((loss, {n: p.grad for n, p in adapters.trainable(model).items()}))
        assert not any(getattr(m, "gradient_checkpointing", False) for m in loaded.model.modules())
        assert not loaded.model.get_input_embeddings()._forward_hooks
    (loss, first), (same_loss, second) = found
    assert loss == same_loss
    for name, gradient in first.items():
        assert gradient is not None
        assert float(gradient.norm()) > 0
        distance = (second[name] - gradient).norm() / gradient.norm()  # type: ignore[operator]
        assert float(distance) <= rounding(loaded.model, backward=True), name


def test_activations_computed_twice_really_hold_fewer() -> None:
    """Counted in tensors saved for the backward pass."""
    held = {}
    for again in (False, True):
        saved = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal saved
            saved += tensor.numel()
            return tensor

        model = tiny_model(num_hidden_layers=6)
        if again:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            model(input_ids=IDS, use_cache=False)
        held[again] = saved
    assert held[True] < held[False] / 3
