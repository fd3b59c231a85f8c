"""Candidates for near-duplicates, none missed: the search behind overlap, duplicates and split.

Two sets of sizes a and b with a Jaccard similarity above 0.9 differ in fewer than (a + b) / 19
elements. Divide all possible grams into m parts by their hash, m greater than that number: then
at least one part of the two sets is *equal*, so that looking up the hash of each part finds every
such pair (PartEnum: Arasu, Ganti, Kaushik, "Efficient exact set-similarity joins", VLDB 2006).
Unlike MinHash this misses nothing and has no seed. m depends on the size, so sizes are divided
into classes, and a set is filed under its own class and the one below.

What the lookup proposes passes two tests that cannot reject a true pair, on sizes and on 256-bit
sketches whose Hamming distance is at most the number of differing elements (bitmap filter:
Sandes, Teodoro, Melo, 2020). Who asks decides the rest with `normal.is_near`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.data.normal import GRAM

BATCH = 4096
"""Texts sketched at a time: 12 bits of a 64-bit word, which leaves 52 for the gram."""

BATCH_CHARACTERS = 2_000_000
"""Characters sketched at a time (about 100 bytes of memory each); a longer text goes alone."""

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_GRAM_BITS = np.uint64(52)
_GRAM_MASK = np.uint64((1 << 52) - 1)
_SKETCH_BITS = 256


def _classes() -> tuple[Numbers, Numbers]:
    """Largest size of each class, and the parts that its sets are divided into.

    The next class ends at a ninth more, so that near sets lie in one class or in neighbours. The
    smaller set of a pair has at most `last` grams and the larger fewer than last / 0.9, so that
    they differ in fewer than last / 9.
    """
    lasts = [9]
    while lasts[-1] < 2**31:
        lasts.append(max(lasts[-1] + 1, lasts[-1] * 10 // 9))
    bounds = np.array(lasts, dtype=np.int64)
    return bounds, -(-bounds // 9)


_LASTS, _PARTS = _classes()


@dataclass(frozen=True, slots=True)
class Sketches:
    """What is kept of N texts.

    Attributes:
        sizes: number of grams, [N].
        bits: sketch of each text, [N, 4].
        signatures: hashes of the parts of all texts, [M].
        owners: index of the text that each signature belongs to, [M].
    """

    sizes: Numbers
    bits: Words
    signatures: Words
    owners: Numbers


def sketch(texts: Sequence[str]) -> Sketches:
    """The sketches of texts that were normalised before, in their order."""
    pieces = [_sketch(batch) for batch in batches(texts)]
    if not pieces:
        none = np.zeros(0, dtype=np.int64)
        words = np.zeros(0, dtype=np.uint64)
        return Sketches(none, words.reshape(0, 4), words, none)
    starts = np.cumsum([0] + [len(p.sizes) for p in pieces])
    return Sketches(
        sizes=np.concatenate([p.sizes for p in pieces]),
        bits=np.concatenate([p.bits for p in pieces]),
        signatures=np.concatenate([p.signatures for p in pieces]),
        owners=np.concatenate([p.owners + n for p, n in zip(pieces, starts, strict=False)]),
    )


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in portions of bounded number and length."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text) + GRAM
        if len(batch) == BATCH or characters > BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def possible(sizes_a: Numbers, bits_a: Words, sizes_b: Numbers, bits_b: Words) -> NDArray[np.bool_]:
    """Which of the pairs a[i], b[i] may be near; False only for those that cannot be."""
    total = sizes_a + sizes_b
    distance = np.bitwise_count(bits_a ^ bits_b).sum(axis=1, dtype=np.int64)
    near: NDArray[np.bool_] = 19 * np.maximum(distance, np.abs(sizes_a - sizes_b)) < total
    return near


def _mix(words: Words) -> Words:
    """The finaliser of SplitMix64: every input bit moves every output bit."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _gram_hashes(texts: Sequence[str]) -> tuple[Words, Numbers]:
    """Hash (52 bits) and owner of every distinct gram of at most `BATCH` texts."""
    padded = [text.ljust(GRAM, "\0") for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    counts = lengths - GRAM + 1
    owners = np.repeat(np.arange(len(texts)), counts)
    starts = np.repeat(np.cumsum(lengths) - lengths - (np.cumsum(counts) - counts), counts)
    starts += np.arange(len(owners))
    hashes = np.zeros(len(codes) - GRAM + 1, dtype=np.uint64)
    for i in range(GRAM):
        window = codes[i : len(codes) - GRAM + 1 + i].astype(np.uint64)
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + window + np.uint64(1)
    gram = _mix(hashes)[starts] & _GRAM_MASK
    keyed = np.sort((owners.astype(np.uint64) << _GRAM_BITS) | gram)
    distinct = np.ones(len(keyed), dtype=bool)
    distinct[1:] = keyed[1:] != keyed[:-1]
    keyed = keyed[distinct]
    return keyed & _GRAM_MASK, (keyed >> _GRAM_BITS).astype(np.int64)


def _sketch(texts: Sequence[str]) -> Sketches:
    hashes, owners = _gram_hashes(texts)
    sizes = np.bincount(owners, minlength=len(texts))
    mixed = _mix(hashes + np.uint64(1))
    position = owners * _SKETCH_BITS + (mixed >> np.uint64(56)).astype(np.int64)
    parity = np.bincount(position, minlength=len(texts) * _SKETCH_BITS) & 1
    bits = np.packbits(parity.astype(bool).reshape(len(texts), _SKETCH_BITS), axis=1)
    own_class = np.searchsorted(_LASTS, sizes)
    filed = [
        _parts(mixed, owners, np.flatnonzero(own_class >= below), own_class - below)
        for below in (0, 1)
    ]
    return Sketches(
        sizes=sizes,
        bits=bits.view(np.uint64),
        signatures=np.concatenate([signatures for signatures, _ in filed]),
        owners=np.concatenate([whose for _, whose in filed]),
    )


def _parts(mixed: Words, owners: Numbers, rows: Numbers, classes: Numbers) -> tuple[Words, Numbers]:
    """Signatures (and their owners) of the texts `rows`, each filed under its entry of `classes`.

    The hash of a part is the sum of the hashes of its grams: equal sets, equal sums.
    """
    parts = np.zeros(len(classes), dtype=np.int64)
    parts[rows] = _PARTS[classes[rows]]
    first = np.cumsum(parts) - parts
    if len(rows) < len(classes):
        present = parts[owners] > 0
        mixed, owners = mixed[present], owners[present]
    part = (mixed & np.uint64(0xFFFFFFFF)).astype(np.int64) % parts[owners]
    sums = np.zeros(int(parts.sum()), dtype=np.uint64)
    np.add.at(sums, first[owners] + part, _mix(mixed))
    whose = np.repeat(np.arange(len(classes)), parts)
    place = (np.arange(len(whose)) - first[whose]) + (classes[whose] << 32)
    return _mix(sums + _mix(place.astype(np.uint64))), whose
