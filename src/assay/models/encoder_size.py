"""How large an encoder is, read from the heads of its files: no weight is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from assay.models.load import context_length
from assay.models.pull import pull
from assay.models.trust import header, read_json, weight_files
from assay.progress import SILENT, Progress

_NO_LAYERS = ("embed", "shared.", "wte.", "wpe.", "decoder.", "lm_head.")
"""In the names of tables that are looked up (of words, positions, segments), and of what fills gaps
or continues texts, which makes no vector."""


@dataclass(frozen=True, slots=True)
class EncoderSize:
    """What the work and the memory of an encoder depend on.

    Attributes:
        parameters: numbers in its weights.
        multiplied: those that every token is multiplied with: its matrices without the tables of
            word and position vectors, which make up half of a small model and most of one of many
            languages.
        outputs: numbers that these matrices make of a token, all layers together.
        limit: tokens of a text that are looked at.
    """

    parameters: int
    multiplied: int
    outputs: int
    limit: int


STARTER_SIZE = EncoderSize(22_713_728, 10_764_288, 21_120, 256)
"""Of the starter embedder."""


def encoder_size(ref: str, progress: Progress = SILENT) -> EncoderSize:
    """The size of an embedder or a cross-encoder; pulls it first where it is not on this machine.

    Raises:
        ModelError: as `pull`.
    """
    folder = pull(ref, progress, "encoder")
    tensors = [pair for file in weight_files(folder) for pair in header(file).items()]
    shapes = [(name, tuple[int, ...](one["shape"])) for name, one in tensors]
    matrices = [s for name, s in shapes if len(s) == 2 and not any(t in name for t in _NO_LAYERS)]
    settings, own = folder / "sentence_bert_config.json", None
    if settings.is_file():
        own = read_json(settings).get("max_seq_length")
    limit = own if isinstance(own, int) else context_length(read_json(folder / "config.json"))
    return EncoderSize(
        parameters=sum(math.prod(shape) for _, shape in shapes),
        multiplied=sum(map(math.prod, matrices)),
        outputs=sum(shape[0] for shape in matrices),
        limit=limit,
    )
