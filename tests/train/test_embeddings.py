"""Embeddings and head beside an adapter, against PEFT's `modules_to_save`."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from safetensors.torch import load_file
from tests.generate.tiny import byte_tokenizer
from tests.generate.tiny import tiny_loaded as byte_loaded
from tests.place.test_ranks import linked
from tests.rounding import near, rounding
from tests.train import graded
from tests.train.test_lora import outcome
from tests.train.test_session import Watcher, run
from tests.train.tiny import SETTINGS, rows, tiny_loaded, tiny_model
from torch import Tensor, nn

from assay.config import FineTune
from assay.errors import ModelError
from assay.models.load import LoadedModel, load_to_train
from assay.models.versions import LocalVersion
from assay.place.ranks import Ranks, SingleRank
from assay.train import adapters
from assay.train.choices import Choices
from assay.train.device import computing
from assay.train.estimate import describe_embeddings, training_bytes
from assay.train.fused import fast
from assay.train.job import TrainingJob
from assay.train.loop import Run
from assay.train.methods import dpo
from assay.train.preference import PairObjective
from assay.train.ranks import add_gradients, own_part, take_first
from assay.train.reinforce.run import ReinforcementRun
from assay.train.sequences import TrainingSequence, alone, divisor
from assay.train.step import running, step
from assay.train.targets import embedding_layers, linear_maps
from assay.train.units import Pair

TIED = pytest.mark.parametrize("tied", [True, False])
IDS = torch.arange(3, 23)[None]
EMBEDDINGS = "base_model.model.model.embed_tokens.weight"
HEAD = "base_model.model.lm_head.weight"


def _settings(**changes: Any) -> FineTune:
    return FineTune.model_validate(SETTINGS.model_dump() | {"embeddings": "train"} | changes)


def _randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    for name, parameter in adapters.trainable(model).items():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += (0.2 if "lora" in name else 0.05) * noise


def _logits(model: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(input_ids=IDS).logits
    return logits


def _peft(base: Any, *, tied: bool) -> Any:
    """As its documentation says: both layers, kept together where they are tied."""
    config = LoraConfig(
        r=SETTINGS.rank,
        lora_alpha=SETTINGS.alpha,
        target_modules="all-linear",
        modules_to_save=["embed_tokens", "lm_head"],
        ensure_weight_tying=tied,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, config)


def _rows(count: int) -> list[TrainingSequence]:
    """Rows that begin alike, as those of a job with a system prompt do."""
    start = [5, 9, 4, 9, 11, 6, 8, 9, 7]
    mask = [False] * len(start)
    return [replace(row, ids=start + row.ids, trained=mask + row.trained) for row in rows(count)]


@TIED
def test_logits_and_gradients_equal_those_of_peft(tied: bool) -> None:
    """Of one batch, and of a step over rows whose beginning is computed once."""
    loaded = tiny_loaded(tie_word_embeddings=tied)
    peft = _peft(copy.deepcopy(loaded.model), tied=tied)
    of_step = _rows(6)
    with adapters.adapt(loaded, _settings()) as model:
        _randomise(model)
        names = adapters.trainable(model).keys()
        assert (EMBEDDINGS in names, HEAD in names) == (True, not tied)
        adapters.set_weights(peft, adapters.weights(model))
        model.train()
        peft.train()
        wanted, theirs = outcome(peft)
        with fast(model, torch.float32):
            logits, ours = outcome(model)
            torch.testing.assert_close(logits, wanted, **near(wanted, loaded.model))
            _check_same(ours, theirs)
            for tokens in (4096, 40):  # in one pass, and as a trunk with several over it
                model.zero_grad(set_to_none=True)
                step(model, alone(of_step), tokens=tokens)
                ours = {name: p.grad for name, p in adapters.trainable(model).items()}  # type: ignore[misc]
                _check_same(ours, _plain_gradients(peft, of_step))


def _check_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert float(gradient.norm()) > 0, name
        assert float((ours[name] - gradient).norm()) <= 1e-5 * float(gradient.norm()), name


def _plain_gradients(model: Any, of_step: list[TrainingSequence]) -> dict[str, Tensor]:
    """Row by row, by transformers' own loss."""
    model.zero_grad(set_to_none=True)
    whole = sum(row.trained_tokens for row in of_step)
    for row in of_step:
        labels = [i if t else -100 for i, t in zip(row.ids, row.trained, strict=True)]
        loss = model(input_ids=torch.tensor([row.ids]), labels=torch.tensor([labels])).loss
        (loss * row.trained_tokens / whole).backward()
    return {name: p.grad for name, p in adapters.trainable(model).items()}  # type: ignore[misc]


@TIED
def test_the_base_is_seen_beside_it_and_is_left_as_it_was(tied: bool) -> None:
    loaded = tiny_loaded(tie_word_embeddings=tied)
    plain, layers = _logits(loaded.model), embedding_layers(loaded.model)
    units, maps = alone(rows(8)), linear_maps(loaded.model).keys()
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    needed = [training_bytes(loaded.model, units, one) for one in (SETTINGS, _settings())]
    numbers = sum(value.numel() for value in {layer.weight for layer in layers.values()})
    assert needed[1] - needed[0] >= 4 * 4 * numbers
    with adapters.adapt(loaded, _settings()) as model:
        _randomise(model)
        tuned = _logits(model)
        with fast(model, torch.float32), adapters.as_base(model, loaded):
            torch.testing.assert_close(_logits(model), plain, **near(plain, loaded.model))
        assert torch.equal(_logits(model), tuned)
        assert not torch.allclose(tuned, plain, atol=1e-2)
        assert all(parameter.requires_grad for parameter in adapters.trainable(model).values())
        assert {one.split(".base_layer")[0] for one in linear_maps(loaded.model)} == {*maps}
    after = embedding_layers(loaded.model)
    assert after.keys() == layers.keys()
    assert all(after[name] is layer for name, layer in layers.items())
    assert all(torch.equal(before[n], v) for n, v in loaded.model.state_dict().items())
    assert torch.equal(_logits(loaded.model), plain)


def test_the_base_is_as_it_was_where_memory_ends_before_they_are_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't allocate memory")

    loaded = tiny_loaded()
    modules = dict(loaded.model.named_modules())
    grows = [parameter.requires_grad for parameter in loaded.model.parameters()]
    monkeypatch.setattr("peft.utils.other.ModulesToSaveWrapper.update", fail)
    with pytest.raises(RuntimeError, match="allocate"), adapters.adapt(loaded, _settings()):
        pass
    assert dict(loaded.model.named_modules()) == modules
    assert [parameter.requires_grad for parameter in loaded.model.parameters()] == grows


def test_a_killed_training_ends_with_the_same_bits_and_says_before_what_it_takes(
    tmp_path: Path,
) -> None:
    def stop(_: float) -> None:
        if len([i for i in watcher.info if "loss" in i]) == 4:
            raise KeyboardInterrupt

    settings = _settings(embedding_rate=0.5)
    whole = run(tmp_path / "whole", settings=settings)
    watcher = Watcher(stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", settings=settings, progress=watcher)
    assert watcher.lines[0] == describe_embeddings(tiny_model(), settings)
    cut = run(tmp_path / "cut", settings=settings)
    bits = [(one.adapter / adapters.WEIGHTS).read_bytes() for one in (whole, cut)]
    assert bits[0] == bits[1]
    slower = run(tmp_path / "slower", settings=_settings(embedding_rate=0.001))
    start = tiny_model().get_input_embeddings().weight.detach()
    moved = [
        float((load_file(one.adapter / adapters.WEIGHTS)[EMBEDDINGS] - start).norm())
        for one in (whole, slower)
    ]
    assert 0 < 50 * moved[1] < moved[0]


def _pairs() -> list[Pair]:
    """Two answers to each question, of which the reference holds both as likely."""
    return [
        Pair((row, replace(row, ids=[*row.ids[:-2], 8, row.ids[-1]])), (-9.0, -9.0))
        for row in _rows(4)
    ]


@TIED
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_base_in_bfloat16_has_them_trained_as_its_float32_copy_has(
    tied: bool, method: str
) -> None:
    """And both as float32 all through has, but for what bfloat16 rounds off."""
    found: list[dict[str, Tensor]] = []
    start: dict[str, Tensor] = {}
    objective = PairObjective(dpo.loss, 0.1) if method == "dpo" else None
    units: list[Any] = _pairs() if method == "dpo" else alone(_rows(6))
    for dtype, compute in (
        (torch.bfloat16, "bfloat16"),
        (torch.float32, "bfloat16"),
        (torch.float32, "float32"),
    ):
        loaded = tiny_loaded(tie_word_embeddings=tied)
        loaded.model.to(torch.bfloat16).to(dtype)
        with adapters.adapt(loaded, _settings()) as model:
            _randomise(model)
            start = start or adapters.weights(model)
            adapters.set_weights(model, start)
            model.train()
            with (
                fast(model, getattr(torch, compute)),
                running(model),
                computing(model, compute),
            ):
                step(model, units, objective)
            found.append({n: p.grad for n, p in adapters.trainable(model).items()})  # type: ignore[misc]
    assert all(one.dtype == torch.float32 for one in found[0].values())
    assert all(torch.equal(found[0][name], gradient) for name, gradient in found[1].items())
    for name in found[2].keys() & {EMBEDDINGS, HEAD}:
        wanted = found[2][name]
        assert float((found[0][name] - wanted).norm()) < 0.2 * float(wanted.norm()), name


@TIED
def test_a_version_is_trained_further_from_its_own_layers(tied: bool, tmp_path: Path) -> None:
    loaded = tiny_loaded(tie_word_embeddings=tied)
    with adapters.adapt(loaded, _settings()) as model:
        _randomise(model)
        wanted, written = _logits(model), adapters.weights(model)
        adapters.write(tmp_path, model, written)
    start = LocalVersion("start", None, "", None, tmp_path)  # type: ignore[arg-type]
    units = alone(rows(4))
    job = TrainingJob(loaded, units, units, _settings(), tmp_path / "further", start=start)
    with adapters.adapt(loaded, job.settings) as model:
        further = Run(job, model, "", Choices("float32", 1, False))
        assert torch.equal(_logits(model), wanted)
        further.step(Watcher())
        moved = adapters.weights(model)
    assert all(not torch.equal(moved[name], value) for name, value in written.items())
    assert (HEAD in moved) != tied


@TIED
def test_they_learn_from_a_grader(tied: bool, tmp_path: Path) -> None:
    loaded = byte_loaded(tie_word_embeddings=tied)
    plain = _logits(loaded.model)
    settings = graded.SETTINGS.model_copy(update={"embeddings": "train"})
    job = graded.job(tmp_path, settings, loaded=loaded)
    with adapters.adapt(loaded, settings) as model:
        learning = ReinforcementRun(job, model, "", Choices("float32", 1, False))
        learning.step(Watcher())
        moved = adapters.weights(model)
        assert (HEAD in moved) != tied
        assert all(not torch.equal(moved[n], value) for n, value in learning.start.items())
        with learning.as_started():
            torch.testing.assert_close(_logits(model), plain, **near(plain, loaded.model))
        assert all(torch.equal(moved[n], v) for n, v in adapters.weights(model).items())


def test_ranks_add_up_the_gradients_of_embeddings_and_head() -> None:
    units = alone(_rows(8))
    bases = [tiny_loaded() for _ in range(3)]

    def gradients(ranks: Ranks, loaded: LoadedModel) -> dict[str, Tensor]:
        with adapters.adapt(loaded, _settings()) as model:
            _randomise(model)
            parameters = adapters.trainable(model)
            take_first(ranks, parameters.values())
            step(model, own_part(units, ranks), whole=divisor(units, of_tokens=True))
            add_gradients(ranks, parameters.values())
            return {name: p.grad for name, p in parameters.items()}  # type: ignore[misc]

    alone_found = gradients(SingleRank(), bases[2])
    first, second = linked(2, lambda ranks: gradients(ranks, bases[ranks.number]))
    assert all(torch.equal(first[name], second[name]) for name in first)
    _check_same(first, alone_found)


def test_what_it_takes_is_told_in_bytes() -> None:
    with torch.device("meta"):
        model = tiny_model(vocab_size=49152, hidden_size=576)
    said = describe_embeddings(model, _settings())
    assert "28.3 million weights: 432 MiB of memory with gradient and adamw's state" in said
    assert (
        "216 MiB on disk for each version that is written, up to 4 times 324 MiB in checkpoints"
        in said
    )
    said = describe_embeddings(model, _settings(method="reinforcement"))
    assert "up to 216 MiB more for copies that reinforcement keeps" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adapter": "full"}, "trains embeddings and head too; leave embeddings out"),
        ({"embeddings": "frozen", "embedding_rate": 0.5}, "no effect without embeddings: train"),
        ({"embedding_rate": 0}, "greater than 0"),
    ],
)
def test_settings_without_effect_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        _settings(**changes)


def test_a_head_that_would_lose_its_bias_is_refused() -> None:
    loaded = tiny_loaded()
    head = loaded.model.get_output_embeddings()
    head.bias = nn.Parameter(torch.ones(head.weight.shape[0]))
    refused = pytest.raises(ModelError, match="embeddings and head of this model cannot be trained")
    with refused, adapters.adapt(loaded, _settings()):
        pass
    assert loaded.model.get_output_embeddings() is head


def test_a_base_in_4_bits_has_embeddings_to_train(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    model = tiny_model(vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128)
    model.save_pretrained(tmp_path)
    loaded = load_to_train(str(tmp_path), "nf4")
    with adapters.adapt(loaded, _settings(quantization="nf4")) as tuned:
        _randomise(tuned)
        tuned.train()
        wanted, theirs = outcome(tuned)
        with fast(tuned, torch.float32) as changed:
            assert changed == 14
            logits, ours = outcome(tuned)
        torch.testing.assert_close(logits, wanted, **near(wanted, loaded.model))
        same = rounding(loaded.model, backward=True)
        for name, gradient in theirs.items():
            assert float((ours[name] - gradient).norm()) <= same * float(gradient.norm()), name
        assert {p.dtype for p in adapters.trainable(tuned).values()} == {torch.float32}
