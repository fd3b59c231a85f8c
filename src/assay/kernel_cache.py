"""How many kernels torch keeps on a processor: few, unless the user says otherwise.

oneDNN compiles a kernel for every shape of a bfloat16 product, and it and torch keep a thousand
each. Rows of ragged length bring dozens of new shapes in every step: a training's memory grew by
megabytes a step, for hundreds of steps. The layers of a pass share their shapes, so that a hundred
kernels serve it. The variables are read when torch first multiplies; importing `assay` sets them.
"""

from __future__ import annotations

import os

CAPACITY = 128
VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # oneDNN's; torch's own


def keep_few() -> None:
    """In this process and those it starts; a choice of the user's own is left as it is."""
    for name in VARIABLES:
        os.environ.setdefault(name, str(CAPACITY))
