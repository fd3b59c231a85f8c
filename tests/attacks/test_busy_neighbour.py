"""Another process that keeps a core busy: our threads then spin but briefly before they sleep."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.preloaded import run_code

from assay import wait_policy

REPOSITORY = Path(__file__).parents[2]

needs_libgomp = pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")


def run(code: str, **chosen: str) -> str:
    """What a new process prints."""
    known = {key: value for key, value in os.environ.items() if key not in wait_policy.VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**known, **chosen},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_HELD = """
import os, resource, threading, time, torch
from assay import wait_policy
def held():
    return any(thread.name == "assay-throttle" for thread in threading.enumerate())
def until(wanted, what):
    end = time.monotonic() + 60
    while held() != wanted:
        assert time.monotonic() < end, what
        work()
def work():
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        product @ product
wait_policy.INTERVAL_S = 0.1
product = torch.ones(400, 400)
wait_policy.adapt()
os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:1]))
over = threading.Event()
def compete():
    while not over.is_set():
        work()
mine = threading.Thread(target=compete)
mine.start()  # two threads on one processor: one of them always waits
try:
    limits = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (50, limits[1]))
    end = time.monotonic() + 3
    while time.monotonic() < end:
        work()
        assert not held(), "held where threads may not be had"
    resource.setrlimit(resource.RLIMIT_NPROC, limits)
    until(True, "not held where threads wait")
finally:
    over.set()
    mine.join()
end = time.monotonic() + 60
while held():  # nothing of this process runs, so nothing waits
    assert time.monotonic() < end, "held where nothing waits"
    time.sleep(0.1)
"""


@needs_libgomp
def test_threads_spin_briefly_only_while_they_wait_for_processors() -> None:
    """Threads of one process that compete for one processor stand for a busy neighbour.

    OpenMP ends a process that cannot have a thread: near a limit of processes none is held.
    """
    run(_HELD)


@needs_libgomp
@pytest.mark.parametrize("kind", ["", "pids"])
def test_room_for_threads_is_that_of_the_narrowest_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Of this process's control group and those above it, in either version of Linux's groups."""
    import resource  # not on Windows

    names = dict(
        line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines()
    )
    if kind not in names:
        pytest.skip("no such groups here")
    monkeypatch.setattr(wait_policy, "GROUPS", tmp_path)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    group = tmp_path / kind / names[kind].strip("/")
    group.mkdir(parents=True, exist_ok=True)
    (group / "pids.max").write_text("max\n")
    (group / "pids.current").write_text("40\n")
    assert wait_policy._room() == math.inf
    root = tmp_path / kind
    (root / "pids.max").write_text("50\n")
    (root / "pids.current").write_text("41\n")
    assert wait_policy._room() == 9


@needs_libgomp
def test_a_throttle_counts_its_threads_and_gives_them_back() -> None:
    code = """
import torch
from assay import wait_policy
torch.ones(500, 500) @ torch.ones(500, 500)
def threads():
    return len(wait_policy._waits())
before = threads()
throttle = wait_policy.Throttle(wait_policy._libraries())
import os, time
end = time.monotonic() + 30
while threads() < before + 1 + len(os.sched_getaffinity(0)):
    assert time.monotonic() < end
throttle.release()
while threads() > before:
    assert time.monotonic() < end
"""
    run(code)


@needs_libgomp
def test_a_library_is_loaded_from_where_it_is_and_nowhere_else(tmp_path: Path) -> None:
    """A folder with a space: the rest of its path, below the current folder, is another's file."""
    code = """
import ctypes, os, shutil, sys, torch
from assay import wait_policy
[known] = [path for path in wait_policy._libraries() if "/torch" in path]
folder = os.path.join(os.fsencode(sys.argv[1]), b"my projects \\xff")
os.mkdir(folder)
copy = shutil.copy(os.fsencode(known), folder)
ctypes.CDLL(os.fsdecode(copy))
assert wait_policy._libraries() == {known, os.fsdecode(copy)}, wait_policy._libraries()
"""
    run(code.replace("sys.argv[1]", repr(str(tmp_path))))


LOADS = (
    "from assay.models.load import load; load('smollm2-135m-instruct')",
    "from assay.models.embed import load_embedder; load_embedder()",
    "from assay.generate.local_pool import LocalPool as L; from assay.example import "
    "Message; from assay.generate.stream import Sampling; "
    "list(L().engine('smollm2-135m-instruct').chat([Message('user', 'a')], (), "
    "Sampling(max_new_tokens=1)))",
)
THREADS = "\nimport threading\nprint([thread.name for thread in threading.enumerate()], flush=True)"


def threads_after(loads: str, output: Path) -> str:
    """The names of a new process's threads; a fork, for its libraries take seconds to load."""
    assert run_code(loads + THREADS, output=output).wait(240) == 0, output.read_text()
    return output.read_text()


@needs_libgomp
@pytest.mark.slow
@pytest.mark.parametrize("load", LOADS)
def test_whatever_computes_is_watched(
    load: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in wait_policy.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert "assay-wait-policy" in threads_after(load, tmp_path / "output")


@needs_libgomp
@pytest.mark.slow
def test_nothing_is_watched_where_the_user_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    told = threads_after("\n".join(LOADS), tmp_path / "output")
    assert "MainThread" in told
    assert "assay-wait-policy" not in told


def test_llama_cpp_does_not_poll_between_operations(tmp_path: Path) -> None:
    """Where it comes without OpenMP (macOS) its own threads would."""
    from assay.generate.llamacpp.server import ServerSettings, _parameters

    given = _parameters(tmp_path / "model.gguf", {}, ServerSettings(), "key")
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
