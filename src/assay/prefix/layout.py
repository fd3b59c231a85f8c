"""How the rows of a training pass are laid out: as a tree, one behind the other, or padded.

    tree     what rows share is computed once (`assay.prefix.pack`); families of `can_share`
    packed   rows lie one behind the other, positions start anew with each, and the mask that
             transformers makes of the positions keeps them apart
    padded   rows beside each other, filled up to the longest: where a row's end would leak into
             the next one (state-space models, convolutions, positions the model counts itself)

Whether a model can be packed is tried, not looked up: two rows are run packed and alone, and again
with another first row. The second must not notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from assay.models.device import index_tensors
from assay.prefix.decode import can_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

Layout = Literal["tree", "packed", "padded"]

PACKED_TOKENS = 1024
"""Most tokens of a packed pass: its mask is a square, seen by every layer."""
_UNNOTICED = 1e-5  # relative; experts multiply their tokens in groups, which moves rounding
_SAME = 1e-3  # relative; only positions are in question, not rounding
_SAME_HALF = 5e-2  # in 16 bits
_PROBE = (11, 6)  # tokens of the two rows

_found: WeakKeyDictionary[nn.Module, Layout] = WeakKeyDictionary()


def layout_of(model: PreTrainedModel) -> Layout:
    """How rows of this model are laid out; found once, before there is an adapter on it."""
    if can_share(model):
        return "tree"
    if model not in _found:
        _found[model] = "packed" if _packs(model) else "padded"
    return _found[model]


def concatenate(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and positions, both [1, N], of sequences one behind the other."""
    ids = [token for sequence in sequences for token in sequence]
    positions = [place for sequence in sequences for place in range(len(sequence))]
    of_ids, of_positions = index_tensors(device, ids, positions)
    return of_ids[None], of_positions[None]


def _packs(model: PreTrainedModel) -> bool:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            return _keeps_apart(model)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False  # it takes no positions
    finally:
        model.train(was_training)


def _keeps_apart(model: PreTrainedModel) -> bool:
    decoder = model.get_decoder()
    vocabulary = model.get_input_embeddings().weight.shape[0]
    first, second, other = (
        [(start + 7 * place) % vocabulary for place in range(length)]
        for start, length in ((3, _PROBE[0]), (5, _PROBE[1]), (4, _PROBE[0]))
    )

    def packed(rows: list[list[int]]) -> Tensor:
        ids, positions = concatenate(rows, model.device)
        hidden: Tensor = decoder(
            input_ids=ids, position_ids=positions, use_cache=False
        ).last_hidden_state[0]
        return hidden

    def alone(row: list[int]) -> Tensor:
        ids = torch.tensor([row], device=model.device)
        hidden: Tensor = decoder(input_ids=ids, use_cache=False).last_hidden_state[0]
        return hidden

    def apart(a: Tensor, b: Tensor) -> float:
        return float((a - b).abs().max() / b.abs().max().clamp_min(1e-9))

    both, wanted = packed([first, second]), torch.cat([alone(first), alone(second)])
    noticed = apart(packed([other, second])[_PROBE[0] :], both[_PROBE[0] :])
    whole = wanted.dtype == torch.float32
    return noticed <= (_UNNOTICED if whole else 0.0) and apart(both, wanted) <= (
        _SAME if whole else _SAME_HALF
    )
