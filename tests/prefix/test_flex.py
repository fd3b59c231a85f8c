"""The tree as torch's block mask, as on CUDA; what can be seen of it on a CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention.flex_attention import create_block_mask

from assay.errors import ModelError
from assay.prefix import flex
from assay.prefix.pack import Pack
from assay.prefix.training import pack_attention
from assay.prefix.trunk import Trunk

CPU = torch.device("cpu")
ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12)


def pack_of(rows: list[list[int]], start: int, device: torch.device = CPU) -> Pack:
    """The pass over `rows`, each behind a trunk of random keys and values."""
    trunk = Trunk(start) if start else None
    if trunk is not None:
        trunk.keep(0, torch.randn(1, 2, start, 16), torch.randn(1, 2, start, 16))
    behind = [[*range(start), *row] for row in rows]
    return Pack(behind, device, shortest=1, least_saved=1, trunk=trunk)


@given(
    rows=ROWS,
    start=st.integers(0, 11),
    window=st.one_of(st.none(), st.integers(1, 14)),
    block=st.sampled_from([2, 4, 8]),
)
@settings(max_examples=100, deadline=None)
def test_the_blocks_from_intervals_are_those_of_a_whole_mask(
    rows: list[list[int]], start: int, window: int | None, block: int
) -> None:
    pack = pack_of(rows, start)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flex, "BLOCK", block)
        patch.setattr(flex, "LEAST", block + 1)
        found = flex.blocks_of(flex.intervals_of(pack, window), start)
    count = len(pack.ids)
    tokens = max(count, block + 1)
    seen = torch.zeros(tokens, start + tokens, dtype=torch.bool)
    for q in range(count, tokens):
        seen[q, start + q] = True  # what fills up
    for places in pack.places:
        for at, q in enumerate(places.tolist()):
            if q >= start:
                first = 0 if window is None else max(0, at + 1 - window)
                seen[q - start, places[first : at + 1]] = True

    def visible(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return seen[q, k]

    wanted = create_block_mask(
        visible, None, None, tokens, start + tokens, device="cpu", BLOCK_SIZE=block
    )
    for name, ours in found._asdict().items():
        torch.testing.assert_close(ours, getattr(wanted, name), msg=name)


LENGTHS = ([5], [70, 80], [128], [129], [200, 90, 90], [256], [300, 100, 340])


def test_the_block_mask_of_cuda_is_one_graph_for_all_packs_and_sees_what_products_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forward only: torch has no backward pass of flex_attention on a CPU."""
    torch.manual_seed(0)
    counter = CompileCounterWithBackend("eager")
    torch._dynamo.reset()
    monkeypatch.setattr(flex, "attend", flex.compiled(counter))
    module: Any = nn.Module()
    module.layer_idx = 0
    # A number of keys or blocks must not be taken for the number of heads because it is the same.
    cases = [
        (lengths, (0, 1, 150, 0, 12)[i % 5], (None, 7, 64)[i % 3], (None, 2.0, 30.0)[cap])
        for cap in range(3)
        for i, lengths in enumerate((LENGTHS, LENGTHS[1:4], LENGTHS[4:])[cap])
    ]
    for lengths, start, window, softcap in cases:
        shared = torch.randint(300, (40,)).tolist()
        rows = [shared[: n // 2] + torch.randint(300, (n - n // 2,)).tolist() for n in lengths]
        pack = pack_of(rows, start)
        count = len(pack.ids)
        query, key, value = (
            torch.randn(1, count, heads, 16).transpose(1, 2) for heads in (6, 2, 2)
        )
        how = {"pack": pack, "scaling": 0.25, "sliding_window": window, "softcap": softcap}
        with torch.no_grad():
            ours, _ = pack_attention(module, query, key, value, None, **how)
            before = pack.trunk.before(0, key, value) if pack.trunk else (key, value)
            out = flex.flex_pack_attention(query, *before, pack, 0.25, window, softcap)
        torch.testing.assert_close(out, ours, rtol=1e-5, atol=1e-5)
        assert counter.frame_count <= (1 if softcap is None else 2), (lengths, start, window)


def test_the_block_mask_of_cuda_never_runs_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(flex, "attend", flex.compiled("eager"))
    monkeypatch.setattr(flex, "GRAPHS", 1)
    with torch.no_grad():
        for softcap in (None, 2.0):
            pack = pack_of([[1, 2, 3]], 0)
            query, key, value = (torch.randn(1, heads, 3, 16) for heads in (6, 2, 2))
            if softcap is None:
                flex.flex_pack_attention(query, key, value, pack, 0.25, None, softcap)
                continue
            with pytest.raises(ModelError, match="compiled for 1 kinds of layer"):
                flex.flex_pack_attention(query, key, value, pack, 0.25, None, softcap)
