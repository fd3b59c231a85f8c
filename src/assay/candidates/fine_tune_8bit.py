"""`fine-tune-8bit`: the version that `fine-tune` has made, in 8 bits a weight."""

from __future__ import annotations

from assay.candidates.building import Candidate, Context
from assay.candidates.shared.coarse import build_coarse, coarse_spec

SPEC = coarse_spec(8, "Half the memory of 16 bits; answers are nearly always the same.")


def build(context: Context) -> Candidate:
    """Hold the version in 8 bits a weight, and measure it as it would be served."""
    return build_coarse(context, 8)
