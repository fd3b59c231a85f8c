"""Rotary embeddings: recognised by what they compute, equal to it, and put back."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from tests.generate.tiny import FAMILIES, tiny_model
from tests.rounding import rounding
from tests.train.test_lora import IDS
from torch import Tensor

from assay.train.rotation import NAME, rotating


def module_of(model: Any) -> Any:
    modules = [sys.modules[type(m).__module__] for m in model.modules()]
    return next(module for module in modules if hasattr(module, NAME))


def gradients(model: Any) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    model(input_ids=IDS).logits.square().sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_rotated_to_the_same_gradients(family: str) -> None:
    model = tiny_model(family)
    own = getattr(module_of(model), NAME)
    wanted = gradients(model)
    with rotating(model) as replaced:
        assert replaced >= 1
        assert getattr(module_of(model), NAME) is not own
        found = gradients(model)
    assert getattr(module_of(model), NAME) is own
    assert set(found) == set(wanted)
    same = rounding(model, backward=True)
    for name, gradient in wanted.items():
        assert float((found[name] - gradient).norm()) <= same * float(gradient.norm()), name


def test_both_halves_have_sines_of_their_own() -> None:
    """As in no embedding of today; the gradient is that of the formula all the same."""
    model = tiny_model("llama")
    drawn = torch.Generator().manual_seed(1)
    query, key, cos, sin = (
        torch.randn(shape, generator=drawn, dtype=torch.float64)
        for shape in ((1, 4, 5, 8), (1, 2, 5, 8), (1, 5, 8), (1, 5, 8))
    )

    def outcome() -> list[Tensor]:
        given = query.clone().requires_grad_(), key.clone().requires_grad_()
        turned = getattr(module_of(model), NAME)(*given, cos, sin)
        torch.autograd.backward([t**3 for t in turned], [torch.ones_like(t) for t in turned])
        return [*turned, *(t.grad for t in given)]

    wanted = outcome()
    with rotating(model):
        found = outcome()
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_function_that_computes_something_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def interleaved(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        def turn(x: Tensor) -> Tensor:
            other = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
            return x * cos.unsqueeze(1) + other * sin.unsqueeze(1)

        return turn(query), turn(key)

    model = tiny_model("llama")
    monkeypatch.setattr(module_of(model), NAME, interleaved)
    with rotating(model) as replaced:
        assert replaced == 0
        assert getattr(module_of(model), NAME) is interleaved


def test_of_two_trainings_at_once_the_first_that_ends_puts_it_back() -> None:
    model = tiny_model("llama")
    own = getattr(module_of(model), NAME)
    first, second = rotating(model), rotating(model)
    with first as replaced:
        assert replaced == 1
        assert second.__enter__() == 0
    assert getattr(module_of(model), NAME) is own
    second.__exit__(None, None, None)
    assert getattr(module_of(model), NAME) is own


def test_what_is_computed_twice_is_rotated_by_the_model() -> None:
    """Another training that ends between the two times must not change how."""
    model = tiny_model("llama")
    model.gradient_checkpointing_enable({"use_reentrant": False})
    with rotating(model) as replaced:
        assert replaced == 0


def test_a_query_alone_is_left_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    own = getattr(module_of(model), NAME)

    def optional(q: Tensor, k: Any = None, cos: Any = None, sin: Any = None) -> Any:
        return own(q, q if k is None else k, cos, sin)

    monkeypatch.setattr(module_of(model), NAME, optional)
    query, cos = torch.ones(1, 2, 3, 8), torch.ones(1, 3, 8)
    with rotating(model) as replaced:
        assert replaced == 1
        turned = getattr(module_of(model), NAME)(query, cos=cos, sin=cos)
    torch.testing.assert_close(turned, own(query, query, cos, cos))


def test_it_is_put_back_after_an_error() -> None:
    model = tiny_model("llama")
    own = getattr(module_of(model), NAME)
    with pytest.raises(RuntimeError), rotating(model):
        raise RuntimeError
    assert getattr(module_of(model), NAME) is own


def test_part_of_a_head_is_left_to_the_model() -> None:
    """Phi-3 can rotate the first values of each head alone."""
    model = tiny_model("phi3", partial_rotary_factor=0.5)
    wanted = gradients(model)
    with rotating(model):
        found = gradients(model)
    for name, gradient in wanted.items():
        assert torch.equal(found[name], gradient), name
