"""What every test shares: real data when it is there, a clean state folder, no outside network."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from assay import garbage
from assay.evaluate.confinement import LANDLOCK
from tests.databases import database, empty_postgres, made_once, own_postgres, postgres
from tests.figures import Figure, recorder
from tests.s3 import bucket, moto, s3

__all__ = [
    "bucket",
    "database",
    "empty_postgres",
    "made_once",
    "moto",
    "own_postgres",
    "postgres",
    "s3",
]
# What collecting the tests loads stays: it is never looked through for garbage, which took an
# eighth of the processor's time of short tests.
gc.disable()
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
# Seeded: what fails here fails everywhere. No deadline: a machine that does other work is no fault.
settings.register_profile("seeded", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "seeded"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: with several workers, none has a long file left at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def collections_short() -> Iterator[None]:
    """What collecting the tests has loaded stays exempt from collections, and nothing else is.

    Servers would exempt what they hold, which thousands of tests in one process leave behind. To
    free that everything would be looked through: seconds, and again at each later collection.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(garbage, "exempt", lambda: None)
        patch.setattr(garbage, "reclaim", gc.collect)
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch computes by one thread: bits are compared with those of processes that have one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def can_confine() -> None:
    """Skips where the kernel cannot shut code of requests off; what is tested has no say in it."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("only Linux on x86-64 shuts code of requests off")
    versioned = ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1)
    if ctypes.CDLL(None).syscall(*versioned) < LANDLOCK:
        pytest.skip(f"this kernel has no Landlock {LANDLOCK}")


@pytest.fixture(scope="module", autouse=True)
def files_closed() -> Iterator[None]:
    """Closes what stores and servers of earlier tests left open."""
    yield
    if len(os.listdir("/dev/fd")) > 200:
        gc.collect()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Public data sets, by ASSAY_TEST_DATA; unset skips the test, set and missing fails it."""
    name = os.environ.get("ASSAY_TEST_DATA")
    if not name:
        pytest.skip("ASSAY_TEST_DATA is not set")
    folder = Path(name)
    if not (folder / "banking77" / "train.jsonl").exists():
        pytest.fail(f"ASSAY_TEST_DATA names {folder}, which holds no data sets")
    return folder


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Keeps a figure that the test measured, for the table of docs/security.md (`make soak`)."""
    return recorder(request.path.relative_to(Path(__file__).parent.parent).as_posix())
