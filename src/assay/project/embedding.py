"""What embedders take in a comparison: products and bytes, and the speed of products here."""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.registry import specs, taking_part
from assay.candidates.spec import Sizes, Workload
from assay.config import Config
from assay.models.encoder_size import EncoderSize, encoder_size
from assay.models.products import products
from assay.progress import Progress

EMBED_SHARE = 0.65
"""Of the speed of a large product in float32 that an embedder keeps up: embedding it was 0.72 to
0.99 of it, training 0.55 to 0.65, with 6 layers of 384 and 12 of 768, on texts of 15 to 250 tokens
(one thread of an EPYC with AVX-512)."""
BYTES_PER_NUMBER = 4
TUNED_ROWS = 16
"""Of an embedder's step, see `assay.train.encoder.job`."""
TUNED_COPIES = 4
"""Of what is trained of it, beside the weights: gradient, two moments, a checkpoint's making."""
KEPT_PER_OUTPUT = 3
"""Numbers kept for the way back, for each that a matrix makes: its input, what follows it."""


def with_embedder(sizes: Sizes, config: Config, progress: Progress) -> Sizes:
    """The sizes with that of the project's embedder, which is looked at (and fetched, where it is
    not on this machine) only if a candidate that takes part embeds.

    Raises:
        ConfigError, ModelError: a candidate, or the embedder, cannot be used.
    """
    if not any(specs()[n].estimate(config, sizes).embedded for n in taking_part(config)):
        return sizes
    return replace(sizes, embedder=encoder_size(config.classifier.embedder, progress))


def tuning_bytes(embedder: EncoderSize, tokens: float) -> float:
    """What training an embedder takes beside it, on texts of so many tokens."""
    copies = embedder.parameters + TUNED_COPIES * embedder.multiplied
    return BYTES_PER_NUMBER * (copies + kept_numbers(embedder, TUNED_ROWS * tokens))


def kept_numbers(embedder: EncoderSize, tokens: float) -> float:
    """Numbers that a step over so many tokens keeps for the way back."""
    return KEPT_PER_OUTPUT * embedder.outputs * tokens


def embedding_operations(workload: Workload, sizes: Sizes) -> float:
    """Of all products that an embedder makes for a candidate, a sum of two numbers counted as two
    (a multiplication and an addition)."""
    return 2.0 * workload.embedded * sizes.embedder.multiplied


def embedding_flops() -> float:
    """Operations a second that an embedder keeps up here; it works in float32."""
    return EMBED_SHARE * products().float32
