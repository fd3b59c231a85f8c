"""Training over a tree of shared prefixes equals training without sharing, in every family."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tests.generate.tiny import FAMILIES, tiny_model
from tests.rounding import near, rounding
from torch import Tensor, nn
from torch.nn import functional

from assay.prefix import blocks
from assay.prefix import training as attention
from assay.prefix import trunk as trunks
from assay.prefix.pack import Pack
from assay.train import step as stepping
from assay.train.fused import fast
from assay.train.sequences import TrainingSequence, Unit, alone
from assay.train.step import running, step, trained_states


def grown(seed: int, levels: int = 3, *, stray: bool = True) -> list[TrainingSequence]:
    """Rows that branch at three levels at least, with trained tokens here and there.

    Args:
        stray: one more row, that shares nothing.
    """
    draw = random.Random(seed)

    def some(low: int, high: int) -> list[int]:
        return [draw.randrange(256) for _ in range(draw.randint(low, high))]

    def branch(before: list[int], level: int) -> list[list[int]]:
        if level == 0:
            return [before + some(2, 9)]
        below: list[list[int]] = []
        for _ in range(draw.choice([2, 2, 3])):
            below += branch(before + some(2, 12), level - 1)
        return below

    rows = []
    for ids in [*branch(some(2, 12), levels), *([some(3, 20)] if stray else [])]:
        trained = [draw.random() < 0.4 for _ in ids]
        trained[-1] = True
        rows.append(TrainingSequence(ids, trained, draw.choice([1.0, 0.5])))
    draw.shuffle(rows)
    return rows


def adapted(family: str, **changes: Any) -> nn.Module:
    """A tiny model with an adapter whose B is random: at B = 0 the gradient of A is zero."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(1)
    model: nn.Module = get_peft_model(tiny_model(family, **changes), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.1 * torch.randn_like(parameter)
    return model.train()


def gradients(
    model: nn.Module, run: Callable[..., Any], *given: Any, **named: Any
) -> tuple[Any, dict[str, Tensor]]:
    """What a function of the model returns, and the gradients that it leaves."""
    model.zero_grad(set_to_none=True)
    returned = run(model, *given, **named)
    return returned, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same(model: nn.Module, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """‖Δ‖ / ‖g‖ of every tensor."""
    assert set(ours) == set(theirs)
    for name, wanted in theirs.items():
        assert float(wanted.norm()) > 0, name
        assert float((ours[name] - wanted).norm() / wanted.norm()) <= rounding(
            model, backward=True
        ), name


def unshared_logps(model: Any, row: TrainingSequence) -> Tensor:
    """Log-probabilities of the trained tokens of one row, from plain transformers."""
    logits = model(input_ids=torch.tensor([row.ids])).logits[0, :-1]
    losses = functional.cross_entropy(logits, torch.tensor(row.ids[1:]), reduction="none")
    return -losses[torch.tensor(row.trained[1:])]


def plain(model: nn.Module, rows: Sequence[TrainingSequence]) -> float:
    """The supervised loss, and its gradients, from plain transformers."""
    parts = [row.weight * unshared_logps(model, row).sum() for row in rows]
    loss = -torch.stack(parts).sum() / sum(row.weight * row.trained_tokens for row in rows)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def dpo(logps_r: Tensor, units: Sequence[Unit]) -> Tensor:
    """Some loss that couples the rows of a unit; the reference is 0."""
    chosen, rejected = logps_r.view(-1, 2).unbind(1)
    weights = logps_r.new_tensor([unit.rows[0].weight for unit in units])
    return -(functional.logsigmoid(0.05 * (chosen - rejected)) * weights).sum()


def plain_dpo(model: nn.Module, pairs: Sequence[Unit]) -> float:
    """`plain` of that loss."""
    logps = torch.stack([unshared_logps(model, row).sum() for pair in pairs for row in pair.rows])
    loss = dpo(logps, pairs) / sum(pair.rows[0].weight for pair in pairs)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every token that two rows share is a node; products are cut where real ones would be."""
    monkeypatch.setattr(stepping, "Pack", partial(Pack, shortest=1, least_saved=1))
    monkeypatch.setattr(trunks, "LEAST", 1)
    monkeypatch.setattr(blocks, "ROWS", 5)
    monkeypatch.setattr(blocks, "TILE", 20)
    monkeypatch.setattr(blocks, "BLOCK", 2000)
    return monkeypatch


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_rounds_no_more_than_plain_transformers(
    family: str, pieces: pytest.MonkeyPatch
) -> None:
    """Sharing, fused parts and typed norms: their gradients lie as near to those of float32."""
    model = adapted(family)
    fused_pairs = (150, attention.FUSED_PAIRS)  # fewer: kernel and products in one layer
    ours, theirs = dict.fromkeys(fused_pairs, 0.0), 0.0
    for seed in range(2):
        rows = grown(seed)
        _, exact = gradients(model, plain, rows)

        def distance(found: dict[str, Tensor], exact: dict[str, Tensor] = exact) -> float:
            assert all(gradient.dtype == torch.float32 for gradient in found.values())
            return sum(float((found[n] - exact[n]).norm() / exact[n].norm()) for n in exact)

        with torch.autocast("cpu", torch.bfloat16):
            theirs += distance(gradients(model, plain, rows)[1])
            for pairs in fused_pairs:
                pieces.setattr(attention, "FUSED_PAIRS", pairs)
                with fast(model, torch.bfloat16):
                    ours[pairs] += distance(gradients(model, step, alone(rows))[1])
    for pairs, total in ours.items():
        assert 0 < total <= 1.3 * theirs, (pairs, ours, theirs)


def test_a_layers_norms_give_what_its_maps_multiply_in() -> None:
    model = adapted("llama")
    given: dict[str, torch.dtype] = {}
    norms = {n: m for n, m in model.named_modules() if type(m).__name__.endswith("RMSNorm")}
    with torch.autocast("cpu", torch.bfloat16), fast(model, torch.bfloat16):
        for name, norm in norms.items():
            given[name] = norm(torch.randn(2, norm.weight.shape[0])).dtype
    last = [name for name, dtype in given.items() if dtype == torch.float32]
    assert len(given) > 2
    assert [name.rsplit(".", 2)[-2:] for name in last] == [["model", "norm"]]


@pytest.mark.parametrize("family", FAMILIES)
def test_supervised_loss_and_gradients_equal_unshared_ones(
    family: str, pieces: pytest.MonkeyPatch
) -> None:
    model = adapted(family)
    known: dict[int, tuple[float, dict[str, Tensor]]] = {}
    for seed, together, piece, tile in (
        (0, 60, 12, 20),  # a trunk and several passes over it
        (1, 1, 12, 1),  # each row a pass of its own
        (2, 10_000, 10_000, 20),  # one pass
        (2, 10_000, 10_000, 1),  # each segment a part of its own
        (2, 10_000, 10_000, 10_000),  # all of them one part
    ):
        rows = grown(seed, stray=piece > 12)
        pieces.setattr(trunks, "PIECE", piece)
        pieces.setattr(blocks, "TILE", tile)
        if seed not in known:
            known[seed] = gradients(model, plain, rows)
        expected, theirs = known[seed]
        for computing in (fast(model, torch.float32), nullcontext()):
            with computing:
                (loss, *_), ours = gradients(model, step, alone(rows), tokens=together)
            assert loss == pytest.approx(expected, rel=rounding(model))
            assert_same(model, ours, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_preference_loss_and_gradients_equal_unshared_ones(
    family: str, pieces: pytest.MonkeyPatch
) -> None:
    model = adapted(family)
    for seed, together, piece in ((0, 60, 12), (1, 10_000, 10_000)):
        rows = grown(seed, stray=piece > 12)
        pieces.setattr(trunks, "PIECE", piece)
        pairs = [Unit((a, b)) for a, b in zip(rows[::2], rows[1::2], strict=False)]
        expected, theirs = gradients(model, plain_dpo, pairs)
        with fast(model, torch.float32):
            (loss, *_), ours = gradients(model, step, pairs, dpo, tokens=together)
        assert loss == pytest.approx(expected, rel=rounding(model))
        assert_same(model, ours, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_changing_one_example_leaves_the_others_as_they_were(family: str) -> None:
    model = adapted(family).eval()
    rows = grown(7)
    changed = list(rows)
    last = changed[2].ids
    changed[2] = TrainingSequence([*last[:-2], (last[-2] + 1) % 256, last[-1]], rows[2].trained)

    def states(rows: list[TrainingSequence]) -> list[Tensor]:
        with torch.no_grad(), running(model):
            hidden, _, row = trained_states(model, rows)
        return [hidden[row == number] for number in range(len(rows))]

    before, after = states(rows), states(changed)
    assert not torch.allclose(before[2], after[2], atol=1e-3)
    for number in range(len(rows)):
        if number != 2:
            torch.testing.assert_close(after[number], before[number], **near(before[number], model))


@given(seed=st.integers(0, 10_000), levels=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_positions_restart_along_each_path(seed: int, levels: int) -> None:
    rows = grown(seed, levels)
    pack = Pack([row.ids for row in rows], torch.device("cpu"), shortest=1, least_saved=1)
    for row, places in zip(rows, pack.places, strict=True):
        assert pack.ids[places].tolist() == row.ids
        assert pack.position[places].tolist() == list(range(len(row.ids)))
        seen = (places[None, :] <= places[:, None]) & (places[:, None] < pack.exit[places][None, :])
        assert bool((seen == torch.ones_like(seen).tril()).all())
    # Every shared token is there once: the number of distinct beginnings of the rows.
    beginnings = {tuple(row.ids[:n]) for row in rows for n in range(1, len(row.ids) + 1)}
    assert len(pack.ids) == len(beginnings)
    at = pack.below
    depth = max((sum(a.start < b.end <= a.last for a in at) for b in at), default=0)
    assert depth >= levels


@given(
    rows=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=12),
    shortest=st.sampled_from([1, 3, 16]),
)
@settings(max_examples=200, deadline=None)
def test_rows_that_are_equal_or_begin_another_keep_their_own_last_token(
    rows: list[list[int]], shortest: int
) -> None:
    pack = Pack(rows, torch.device("cpu"), shortest=shortest, least_saved=1)
    last = [int(places[-1]) for places in pack.places]
    assert len(set(last)) == len(rows)
    for row, places in zip(rows, pack.places, strict=True):
        assert pack.ids[places].tolist() == row
        seen = (places[None, :] <= places[:, None]) & (places[:, None] < pack.exit[places][None, :])
        assert bool((seen == torch.ones_like(seen).tril()).all())
    assert len(pack.ids) <= sum(len(row) for row in rows)
