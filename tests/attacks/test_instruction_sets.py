"""Another processor: numeric tests hold under instruction sets that this one does not choose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
SETS = {
    "without vectors": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
    },
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2",
    },
    "AVX-512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_CBWR": "AVX512",
    },
    "AMX, if it is there": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"},
    "two threads": {"OMP_NUM_THREADS": "2"},
}
"""What torch, oneDNN and MKL may use; what a processor has not is not used."""
QUICK = ("tests/invariants/test_training.py", "tests/train/test_lora.py")
NUMERIC = (
    *QUICK,
    "tests/invariants/test_tree_training.py",
    "tests/invariants/test_packed_training.py",
    "tests/invariants/test_adapters.py",
    "tests/invariants/test_generation.py",
    "tests/prefix",
    "tests/train/test_accuracy.py",
    "tests/train/test_distillation.py",
    "tests/train/test_fused.py",
    "tests/train/test_methods.py",
    "tests/train/test_preference.py",
    "tests/train/test_reference.py",
    "tests/train/test_rotation.py",
    "tests/train/test_session.py",
    "tests/train/test_step.py",
    "tests/generate/transformers/test_batch.py",
    "tests/models/test_tuned.py",
)
OTHER_ORDER = ("-p", "tests.summation")


def passed(*arguments: str, **chosen: str) -> int:
    """How many tests of another pytest passed; all of them have to."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    known = {"OMP_NUM_THREADS": "1", **os.environ, **chosen}
    done = subprocess.run(command, env=known, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    count = re.search(r"(\d+) passed", done.stdout)
    assert count is not None, done.stdout
    return int(count[1])


@pytest.mark.slow
def test_gradients_and_rows_hold_with_fewer_instructions_and_other_orders() -> None:
    few = ("-m", "not soak and not slow", *QUICK)
    assert passed(*OTHER_ORDER, *few, **SETS["without vectors"]) > 10


@pytest.mark.soak
@pytest.mark.parametrize("name", SETS)
def test_every_numeric_test_holds_under_every_set(name: str, figure: Any) -> None:
    count = passed("-m", "not soak", *NUMERIC, **SETS[name])
    figure(f"numeric tests that hold: {name}", count)


@pytest.mark.soak
def test_every_numeric_test_holds_in_another_order_of_sums(figure: Any) -> None:
    """With bfloat16 factors added up in float32 blocks, as AMX does. torch compiles flex_attention
    only where nothing listens to its operations."""
    few = ("-m", "not soak and not slow", "-k", "not block_mask_of_cuda")
    count = passed(*OTHER_ORDER, *few, *NUMERIC)
    figure("numeric tests that hold: sums in another order", count)
