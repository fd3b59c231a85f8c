"""Another process that keeps a core busy: our threads spin but briefly, and then sleep."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay.wait_policy import TURNS

REPOSITORY = Path(__file__).parents[2]
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")

needs_libgomp = pytest.mark.skipif(sys.platform != "linux", reason="libgomp tells what it has read")


def spin_counts(code: str, **chosen: str) -> set[str]:
    """What every OpenMP library that a new process loads has been told."""
    known = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    known |= {"OMP_DISPLAY_ENV": "verbose", **chosen}
    told = subprocess.run(
        [sys.executable, "-c", code], env=known, cwd=REPOSITORY, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    return set(re.findall(r"GOMP_SPINCOUNT = '(\w+)'", told.stderr))


@needs_libgomp
@pytest.mark.slow
def test_threads_spin_briefly_wherever_ours_train_answer_or_embed() -> None:
    """Each of the libraries brings an OpenMP of its own, which reads the choice for itself."""
    training = "import assay.jobs.tuning_work, assay.generate.serving_local, assay.knowledge.embed"
    others = "import sentence_transformers, sklearn.linear_model"
    assert spin_counts(f"{training}\n{others}") == {TURNS}


@needs_libgomp
@pytest.mark.parametrize("first", ["assay", "assay.cli.main"])
def test_threads_spin_briefly_whatever_of_ours_is_imported_first(first: str) -> None:
    assert spin_counts(f"import {first}, xllamacpp") == {TURNS}


@needs_libgomp
def test_processes_that_ours_start_do_so_too() -> None:
    start = "subprocess.run([sys.executable, '-c', 'import xllamacpp'])"
    assert spin_counts(f"import assay, subprocess, sys; {start}") == {TURNS}


@needs_libgomp
@pytest.mark.parametrize(
    ("chosen", "count"),
    [({"GOMP_SPINCOUNT": "77"}, {"77"}), ({"OMP_WAIT_POLICY": "active"}, {"30000000000"})],
)
def test_the_user_s_own_choice_wins(chosen: dict[str, str], count: set[str]) -> None:
    assert spin_counts("import assay, xllamacpp", **chosen) == count


@needs_libgomp
def test_a_library_that_came_first_is_told_of() -> None:
    late = "import xllamacpp, assay; assert assay.wait_policy_source == 'too late'"
    assert TURNS not in spin_counts(late)
    early = "import assay, xllamacpp; assert assay.wait_policy_source == 'assay'"
    assert spin_counts(early) == {TURNS}


def test_llama_cpp_does_not_poll_between_operations(tmp_path: Path) -> None:
    """Where it comes without OpenMP (macOS) its own threads would."""
    from assay.generate.llamacpp import Settings, _parameters

    given = _parameters(tmp_path / "model.gguf", {}, Settings(), "key")
    assert given.cpuparams.poll == given.cpuparams_batch.poll == 0


@pytest.mark.soak
@pytest.mark.parametrize("work", ["training", "transformers", "llama.cpp", "embedding"])
def test_one_busy_process_leaves_nearly_half(work: str, data_folder: Path, figure: Any) -> None:
    if (os.cpu_count() or 1) > 2:
        pytest.skip("one busy process of many cores tells nothing")
    command = [sys.executable, "bench/contention.py", work, "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900)
    (line,) = json.loads(done.stdout)
    figure(f"{work} beside one busy process, share of its quiet speed", f"{line['kept']:.2f}")
    assert line["kept"] >= 0.45, line
