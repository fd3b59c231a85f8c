"""The size of an encoder, from its files alone: as the loaded model has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.models.tiny_embedder import LIMIT, write_embedder
from tests.models.tiny_encoders import write_distil_embedder, write_modern_bert
from torch import nn

from assay.config import STARTER_EMBEDDER
from assay.models.embed import load_embedder
from assay.models.encoder_size import STARTER_SIZE, encoder_size


@pytest.mark.parametrize("write", [write_embedder, write_distil_embedder, write_modern_bert])
def test_what_every_token_is_multiplied_with_is_that_of_the_layers(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = str(write(tmp_path))
    size, loaded = encoder_size(folder), load_embedder(folder)
    linear = [m for m in loaded._model[0].modules() if isinstance(m, nn.Linear)]
    known = sum(one.weight.numel() for one in linear)
    assert known <= size.multiplied <= 1.15 * known  # what fills gaps is kept beside the layers
    known = sum(one.out_features for one in linear)
    assert known <= size.outputs <= 1.15 * known
    assert size.limit == loaded.limit


def test_word_vectors_are_looked_up_and_not_multiplied_with(tmp_path: Path) -> None:
    many = " ".join(f"word{n}" for n in range(5000))
    few, more = (encoder_size(str(write_embedder(tmp_path / t[:4], text=t))) for t in ("a b", many))
    assert more.parameters > few.parameters + 32 * 4000
    assert (more.multiplied, more.outputs, more.limit) == (few.multiplied, few.outputs, LIMIT)


@pytest.mark.slow
def test_the_size_of_the_starter_is_as_it_is_written() -> None:
    assert encoder_size(STARTER_EMBEDDER) == STARTER_SIZE
