"""Zeros are given back where they are a buffer's own, and never anything else."""

from __future__ import annotations

import mmap
import sys

import psutil
import pytest

from assay.models.zero_pages import BLOCK, give_back, mappings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="madvise as Linux means it")
SIZE = 96 * BLOCK


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


def written(size: int, byte: bytes = b"\0") -> mmap.mmap:
    """Memory of its own, every page of it written to."""
    buffer = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer.write(byte * size)
    return buffer


def test_a_buffer_of_zeros_takes_no_memory_until_it_is_used() -> None:
    before = mappings()
    buffer = written(SIZE)
    held = resident()
    given = give_back(SIZE, before)
    assert given > SIZE - 5 * BLOCK
    assert held - resident() > given - 8 * BLOCK
    assert buffer[:] == bytes(SIZE)
    buffer[SIZE // 2] = 7
    assert buffer[SIZE // 2 - 1 : SIZE // 2 + 2] == b"\0\x07\0"


def test_what_adjoins_it_is_left_alone() -> None:
    """Zeros of somebody else who is writing: only what is the buffer's in any case goes."""
    before = mappings()
    whole = written(SIZE + SIZE // 2)
    assert 0 < give_back(SIZE, before) < SIZE // 2
    whole.close()


@pytest.mark.parametrize("case", ["other bytes", "known before", "two of them", "too short"])
def test_what_is_not_surely_the_buffer_stays(case: str) -> None:
    before = mappings()
    buffers = [written(SIZE, b"\x01" if case == "other bytes" else b"\0")]
    if case == "two of them":
        buffers += [written(BLOCK, b"\x01"), written(SIZE)]
    if case == "known before":
        before = mappings()
    size = SIZE + 8 * BLOCK if case == "too short" else SIZE
    assert give_back(size, before) == 0
