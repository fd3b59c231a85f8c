"""`fine-tune-4bit`: the version that `fine-tune` has made, in 4 bits a weight."""

from __future__ import annotations

from assay.candidates.building import Candidate, Context
from assay.candidates.shared.coarse import build_coarse, coarse_spec

SPEC = coarse_spec(4, "A third of the memory of 16 bits; some answers change.")


def build(context: Context) -> Candidate:
    """Hold the version in 4 bits a weight, and measure it as it would be served."""
    return build_coarse(context, 4)
