"""Memory that holds nothing but zeros, given back to the system, which gives zeros when it is used.

    before = mappings()
    ...                                  # something that fills a buffer of `size` bytes with zeros
    give_back(size, before)

llama.cpp writes zeros through its whole cache of keys and values when it is loaded: 1.4 GB for
eight answers of the starter, of which short conversations use a tenth. A page that is given back
reads as zeros again and takes memory once it is written to (madvise(2), MADV_DONTNEED). Linux only.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

BLOCK = 1 << 20
"""Bytes that are looked at at once."""
_DONTNEED = 4

Range = tuple[int, int]
"""First address, and the one behind the last."""


def mappings() -> list[Range]:
    """This process's writable memory that no file stands behind; empty where that is not known."""
    found = []
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text("utf-8", "replace").splitlines():
            fields = line.split()
            if len(fields) == 5 and fields[1] == "rw-p":
                first, behind = fields[0].split("-")
                found.append((int(first, 16), int(behind, 16)))
    return found


def give_back(size: int, before: Sequence[Range]) -> int:
    """Give back a buffer of `size` bytes that has been filled with zeros and is not used yet.

    It has to be new since `before`, and the only stretch of zeros of that length. Other zeros that
    adjoin it may be somebody else's: only addresses are given back that belong to a buffer of that
    length wherever in the stretch it lies. Nothing is given back where it cannot be found.

    Returns:
        The bytes that were given back.
    """
    if size < 4 * BLOCK:
        return 0
    with suppress(OSError, AttributeError):
        stretches = [
            (first, behind)
            for first, behind in _zeros(_without(mappings(), before))
            if behind - first > size - 2 * BLOCK  # its ends lie within blocks that are not all zero
        ]
        if len(stretches) != 1:
            return 0
        [(first, behind)] = stretches
        first, behind = max(first, behind + BLOCK - size), min(behind, first - BLOCK + size)
        length = behind - first
        if length > 0 and not ctypes.CDLL(None).madvise(
            ctypes.c_void_p(first), ctypes.c_size_t(length), _DONTNEED
        ):
            return length
    return 0


def _without(ranges: Sequence[Range], known: Sequence[Range]) -> Iterator[Range]:
    """The parts of `ranges` that are not in `known`; the system joins neighbours."""
    for first, behind in ranges:
        for start, end in sorted(known):
            if end <= first or start >= behind:
                continue
            if start > first:
                yield first, start
            first = max(first, end)
        if first < behind:
            yield first, behind


def _zeros(ranges: Iterator[Range]) -> Iterator[Range]:
    """Stretches of whole blocks of zeros. Reading what is no longer there is an OSError."""
    zeros, block = bytes(BLOCK), bytearray(BLOCK)
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        for first, behind in ranges:
            start = at = -(-first // BLOCK) * BLOCK
            for at in range(start, behind - BLOCK + 1, BLOCK):
                if os.preadv(memory, [block], at) != BLOCK or block != zeros:
                    if at > start:
                        yield start, at
                    start = at + BLOCK
            if at + BLOCK > start and at + BLOCK <= behind:
                yield start, at + BLOCK
    finally:
        os.close(memory)
