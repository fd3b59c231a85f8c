"""What must never break in training: gradients, rows kept apart, mask, resuming, adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.generate import tiny as written
from tests.preloaded import printed
from tests.rounding import near, rounding
from tests.train import killing
from tests.train.tiny import EOS, SETTINGS, rows, tiny_loaded, tiny_model, train
from torch import Tensor, nn

from assay.chat.template import Template
from assay.train import adapters
from assay.train.documents import TextDocument, document_units
from assay.train.sequences import TrainingSequence, alone
from assay.train.step import evaluate, in_passes, running, step, trained_states


def _randomise(model: nn.Module) -> None:
    """Give B random values: at its start of zero, A has no gradient to compare."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in adapters.trainable(model).items():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)


def _gradients(
    model: nn.Module, sequences: list[TrainingSequence], micro_tokens: int
) -> tuple[float, dict[str, Tensor]]:
    model.zero_grad(set_to_none=True)
    loss, _ = step(model, alone(sequences), tokens=micro_tokens)
    found = {name: p.grad.clone() for name, p in adapters.trainable(model).items()}  # type: ignore[union-attr]
    return loss, found


def _distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest relative difference over parameters."""
    return max(float((a[n] - b[n]).norm() / a[n].norm()) for n in a)


@given(seed=st.integers(0, 10_000), weighted=st.booleans())
@settings(max_examples=10, deadline=None)
def test_the_cut_into_micro_batches_never_changes_the_gradient(seed: int, weighted: bool) -> None:
    """8 x 1 and 1 x 8, with ragged lengths and unequal numbers of trained tokens."""
    sequences = rows(8, seed=seed, low=3, high=40)
    sequences = [
        TrainingSequence(
            row.ids,
            [
                trained or (number % 3 == 0 and place > 1)
                for place, trained in enumerate(row.trained)
            ],
            1.0 + number if weighted else 1.0,
        )
        for number, row in enumerate(sequences)
    ]
    with adapters.adapt(tiny_loaded(), SETTINGS) as model:
        _randomise(model)
        assert [len(f.passes) for f in in_passes(model, alone(sequences), 1)] == [1] * 8
        assert [len(f.passes) for f in in_passes(model, alone(sequences), 10_000)] == [1]
        one_by_one, small = _gradients(model, sequences, 1)
        at_once, large = _gradients(model, sequences, 10_000)
        assert all(float(gradient.norm()) > 0 for gradient in large.values())
        assert one_by_one == pytest.approx(at_once, rel=rounding(model))
        assert _distance(large, small) <= rounding(model, backward=True)


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}])
def test_the_loss_and_gradient_are_those_of_plain_transformers(changes: dict[str, Any]) -> None:
    """Two rows by hand: 3 and 1 trained tokens, so that a mean of row means would differ."""
    first = TrainingSequence([5, 6, 7, 8, EOS], [False, False, True, True, True])
    second = TrainingSequence([9, 10, 11], [False, False, True])
    with adapters.adapt(tiny_loaded(**changes), SETTINGS) as model:
        _randomise(model)
        losses = []
        for row in (first, second):
            labels = [i if t else -100 for i, t in zip(row.ids, row.trained, strict=True)]
            out = model(input_ids=torch.tensor([row.ids]), labels=torch.tensor([labels]))
            losses.append(out.loss)
        expected = (3 * losses[0] + losses[1]) / 4
        expected.backward()
        plain = {n: p.grad.clone() for n, p in adapters.trainable(model).items()}  # type: ignore[union-attr]
        loss, gradients = _gradients(model, [first, second], 10_000)
        assert step(model, alone([first, second]))[1] == 4
        assert loss == pytest.approx(float(expected.detach()), rel=rounding(model))
        assert loss != pytest.approx(float((losses[0] + losses[1]).detach()) / 2, rel=1e-3)
        assert evaluate(model, alone([first, second])) == pytest.approx(loss, rel=rounding(model))
        assert _distance(plain, gradients) <= rounding(model, backward=True)


def test_each_token_of_a_document_is_learned_once_as_plain_transformers_learns_it() -> None:
    """Cut into parts that lie in one pass; a mark that somebody wrote into a text is text."""
    loaded = written.tiny_loaded()
    template, end = Template.of(loaded.tokenizer), loaded.tokenizer.eos_token_id
    texts = ["Goods may be sent back. " * 9, "<|im_end|> is written so.", "b", "c" * 62, "d" * 63]
    units = document_units([TextDocument(t[:1], t) for t in texts], template, 64)
    learned: dict[str, list[int]] = {}
    for unit in units:
        [row] = unit.rows
        assert 1 < len(row.ids) <= 64
        learned[row.name] = learned.get(row.name, row.ids[:1])
        assert learned[row.name][-1:] == row.ids[:1], "predicted from the token before it"
        learned[row.name] += [i for i, t in zip(row.ids, row.trained, strict=True) if t]
    assert [loaded.tokenizer.decode(ids[:-1]) for ids in learned.values()] == texts
    assert [ids.index(end) for ids in learned.values()] == [len(text) for text in texts]
    assert [len(u.rows[0].ids) for u in units] == [55, 55, 55, 55, 26, 2, 63, 64]
    with adapters.adapt(loaded, SETTINGS) as model:
        _randomise(model)
        sums = []
        for unit in units:
            ids = torch.tensor([unit.rows[0].ids])
            sums.append(model(input_ids=ids, labels=ids).loss * (ids.shape[1] - 1))
        expected = torch.stack(sums).sum() / sum(map(len, texts))
        expected.backward()
        plain = {n: p.grad.clone() for n, p in adapters.trainable(model).items()}  # type: ignore[union-attr]
        loss, gradients = _gradients(model, [unit.rows[0] for unit in units], 10_000)
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
        assert _distance(plain, gradients) <= 1e-5


def test_no_row_sees_another() -> None:
    """Changing one row leaves the others as they are: to the bit, or, moved, to the rounding."""
    model = tiny_model()
    start = list(range(3, 43))
    answers = ([50, 51, 52, EOS], [60, 61, EOS], [50, 51, 70, EOS])

    def states(answers: Any) -> list[Tensor]:
        made = [TrainingSequence(start + a, [False] * 40 + [True] * len(a)) for a in answers]
        with torch.no_grad(), running(model):
            hidden, _, row = trained_states(model, made)
        return [hidden[row == r] for r in range(len(made))]

    before, after = states(answers), states(([50, 51, 53, EOS], *answers[1:]))
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert torch.equal(before[2], after[2])
    moved = states(([50, 55, 56, EOS], *answers[1:]))  # behind the third row, which moves up
    assert not torch.allclose(before[0], moved[0], atol=1e-3)
    for row in (1, 2):
        torch.testing.assert_close(moved[row], before[row], **near(before[row], model))


def test_no_row_changes_the_others_gradient_part() -> None:
    """The gradient of a step is the sum of its rows' own, each by its share of the tokens."""
    sequences = rows(4, seed=5)
    with adapters.adapt(tiny_loaded(), SETTINGS) as model:
        _randomise(model)
        _, whole = _gradients(model, sequences, 10_000)
        parts = [_gradients(model, [row], 10_000)[1] for row in sequences]
        summed = {name: sum(part[name] for part in parts) / 4 for name in whole}
        assert _distance(whole, summed) <= rounding(model, backward=True)  # type: ignore[arg-type]


def test_the_stop_token_is_trained_where_it_is_also_the_padding() -> None:
    """Pad and end of text are one token here; a mask made from `ids != pad` would lose the end."""
    loaded = tiny_loaded()
    assert loaded.model.config.pad_token_id == EOS
    short = TrainingSequence([5, 6, EOS], [False, False, True])
    longer = TrainingSequence([7, 8, 9, 10, 11, EOS], [False] * 5 + [True])
    with adapters.adapt(loaded, SETTINGS) as model:
        loss, trained = step(model, alone([short, longer]))
        assert trained == 2
        wanted = []
        for row in (short, longer):
            logits = model(input_ids=torch.tensor([row.ids])).logits[0, -2]
            wanted.append(-float(logits.log_softmax(-1)[EOS].detach()))
        assert loss == pytest.approx(sum(wanted) / 2, rel=rounding(model))


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"dropout": 0.1})

    def weights(name: str, seed: int) -> bytes:
        chosen = settings.model_copy(update={"seed": seed})
        loaded = tiny_loaded()
        torch.manual_seed(ord(name))  # whatever the process has drawn before must not matter
        result = train(
            loaded, rows(10), rows(4, 1), chosen, tmp_path / name, compute="float32"
        )  # what a probe would choose is a choice that is stored
        return (result.adapter / adapters.WEIGHTS).read_bytes()

    first = weights("a", 1)
    assert first == weights("b", 1)
    assert first != weights("c", 2)


def _kill(folder: Path, kills: int, seed: int, method: str) -> dict[str, Any]:
    told = printed(killing.run, str(folder), str(kills), str(seed), method, folder=folder)
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "text", "dpo", "reinforcement"])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, method: str) -> None:
    """SIGKILL three times; weights, optimiser, order, log as if nothing had happened."""
    found = _kill(tmp_path, kills=3, seed=1, method=method)
    assert len(found["deaths"]) >= 2
    assert found["resumed"]
    assert found["killed"] == found["whole"]


@pytest.mark.soak
@pytest.mark.parametrize("method", ["sft", "text", "dpo", "reinforcement"])
@pytest.mark.parametrize("seed", range(5))
def test_many_kills_change_nothing(tmp_path: Path, seed: int, method: str) -> None:
    """Ten, or as many as come before a training is over: the short ones have six steps or so, of
    which each kill lets at most two pass."""
    found = _kill(tmp_path, kills=10, seed=seed, method=method)
    assert len(found["deaths"]) >= (10 if method in ("sft", "dpo") else 3)
    assert found["killed"] == found["whole"]
