"""How long the threads of a matrix product spin for each other before they sleep: briefly.

OpenMP's threads meet after every operation. By default they spin meanwhile for as long as a time
slice, and where another process keeps a core busy, they spin away the time of the one they wait
for: a training falls to a fiftieth of its speed. To sleep at once (`OMP_WAIT_POLICY=passive`) costs
a third to a half of the speed where nothing else runs, since waking takes longer than most waits. A
thousand turns, as libgomp itself takes where there are more threads than cores, lie between
(docs/benchmarks.md, "Beside other work").

Each GNU OpenMP library (of torch, llama.cpp, scikit-learn) reads the environment once, when it is
loaded; processes that are started inherit it. Importing `assay` calls `spin_briefly`, so that
whatever is imported from it comes later.
"""

from __future__ import annotations

import os
import sys
from typing import Literal

VARIABLE, TURNS = "GOMP_SPINCOUNT", "1000"
_OWN = (VARIABLE, "OMP_WAIT_POLICY", "KMP_BLOCKTIME")  # GNU's, everybody's, and LLVM's
_WITH_OPENMP = ("torch", "sklearn", "xllamacpp")

Source = Literal["assay", "environment", "too late"]
"""Who has chosen: this package, the user's environment, or a library that was loaded before."""


def spin_briefly() -> Source:
    """Let threads spin briefly at barriers, in this process and those it starts.

    A choice of the user's own is left as it is. Where a library with OpenMP was loaded before, the
    choice holds only for the processes that are started.
    """
    if any(name in os.environ for name in _OWN):
        return "environment"
    os.environ[VARIABLE] = TURNS
    return "too late" if any(name in sys.modules for name in _WITH_OPENMP) else "assay"


def chosen() -> str:
    """The variables that decide, as the environment has them: `GOMP_SPINCOUNT=1000`."""
    return " ".join(f"{name}={os.environ[name]}" for name in _OWN if name in os.environ)
