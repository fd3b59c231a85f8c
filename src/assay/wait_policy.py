"""How the threads of a matrix product wait for each other: asleep, unless the user says otherwise.

OpenMP's threads meet after every operation. By default they spin meanwhile, and where another
process keeps a core busy, they spin away the time of the one they wait for: a training falls to a
fiftieth of its speed, an answer takes seconds a token. Each OpenMP library (of torch, llama.cpp,
scikit-learn) reads the environment once, when it is loaded; processes that are started inherit it.
Importing `assay` calls `prefer_passive`, so that whatever is imported from it comes later.
"""

from __future__ import annotations

import os
import sys
from typing import Literal

VARIABLE = "OMP_WAIT_POLICY"
_OWN = (VARIABLE, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # GNU's and LLVM's own names for the same
_WITH_OPENMP = ("torch", "sklearn", "xllamacpp")

Source = Literal["assay", "environment", "too late"]
"""Who has chosen: this package, the user's environment, or a library that was loaded before."""


def prefer_passive() -> Source:
    """Let threads sleep at barriers, in this process and those it starts.

    A choice of the user's own is left as it is. Where a library with OpenMP was loaded before, the
    choice holds only for the processes that are started.
    """
    if any(name in os.environ for name in _OWN):
        return "environment"
    os.environ[VARIABLE] = "passive"
    return "too late" if any(name in sys.modules for name in _WITH_OPENMP) else "assay"


def chosen() -> str:
    """The variables that decide, as the environment has them: `OMP_WAIT_POLICY=passive`."""
    return " ".join(f"{name}={os.environ[name]}" for name in _OWN if name in os.environ)
