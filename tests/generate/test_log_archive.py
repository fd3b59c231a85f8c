"""Members of a log's archive are unpacked whole, however they are packed, and within bounds."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from assay.errors import DataError
from assay.generate import log_archive
from assay.generate.log_archive import read_samples
from assay.generate.outside_logs import read_log

MIB = 1 << 20
TEXT = json.dumps({"id": "a", "input": "q", "output": {"completion": "x" * 900}}).encode()


def zstd(text: bytes) -> bytes:
    packed: bytes = pa.compress(text, codec="zstd", asbytes=True)
    return packed


def deflate(text: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(text) + packing.flush()


WAYS = {"zstd": (93, zstd), "deflate": (zipfile.ZIP_DEFLATED, deflate)}
"""What a way is called -> its number in zip, and what packs so."""


def archive(
    path: Path, members: Mapping[str, tuple[bytes, int]], way: str = "zstd", crc: int | None = None
) -> Path:
    """An archive of packed bytes, each with the length that is said of it."""
    with zipfile.ZipFile(path, "w") as file:
        for name, (packed, length) in members.items():
            file.writestr(name, packed)
            said = file.infolist()[-1]
            said.compress_type, said.file_size = WAYS[way][0], length
            said.CRC = zlib.crc32(TEXT) if crc is None else crc
    return path


def test_a_member_of_several_frames_is_whole(tmp_path: Path) -> None:
    frames = zstd(TEXT[:300]) + zstd(b"") + zstd(TEXT[300:])
    path = archive(tmp_path / "log.eval", {"samples/a.json": (frames, len(TEXT))})
    assert [text for _, text in read_samples(path)] == [TEXT]


def test_of_one_name_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("samples/a.json", b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("samples/a.json", TEXT)
    assert [text for _, text in read_samples(path)] == [TEXT]


@pytest.mark.parametrize("way", WAYS)
def test_an_archive_bomb_is_refused(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = WAYS[way][1]
    good = (pack(TEXT), len(TEXT))
    path = tmp_path / "log.eval"

    # One that says what it is: refused before even the good one that stands first is unpacked.
    with monkeypatch.context() as patched:
        patched.setattr(log_archive, "_unpacked", lambda *_: pytest.fail("it was unpacked"))
        archive(path, {"samples/a.json": good, "samples/b.json": (b"x", 65 * MIB)}, way)
        with pytest.raises(DataError, match="more than 64 MiB") as caught:
            list(read_samples(path))
        assert "samples/b.json" in str(caught.value)
        many = {f"samples/{n}.json": (b"x", 64 * MIB) for n in range(257)}
        archive(path, {"samples/a.json": good, **many}, way)
        with pytest.raises(DataError, match="more than 16,384 MiB"):
            list(read_samples(path))

    # One that says that it is small: nothing is unpacked beyond what it says.
    bomb = zstd(bytes(16 * MIB)) * 4 if way == "zstd" else deflate(bytes(16 * MIB))
    archive(path, {"samples/a.json": (bomb, len(TEXT))}, way)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="cannot be read"):
            list(read_samples(path))
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()

    # One of samples that are each as large as they may be: what is kept of them is bounded.
    monkeypatch.setattr("assay.generate.outside_logs.MOST_BYTES", 1000)
    archive(path, {"samples/a.json": good, "samples/b.json": good}, way)
    with pytest.raises(DataError, match=r"log\.eval, answers"):
        read_log(path)


def test_a_frame_that_wants_much_memory_is_refused(tmp_path: Path) -> None:
    window = b"\x28\xb5\x2f\xfd\x00\x90"  # a frame's header: it looks 256 MiB back
    path = archive(tmp_path / "log.eval", {"samples/a.json": (window + b"\x01\x00\x00", 1)})
    with pytest.raises(DataError, match="too much memory"):
        list(read_samples(path))


PACKED = zstd(TEXT)
BROKEN = {
    "cut": (PACKED[:-4], "Truncated"),
    "overwritten": (PACKED[:30] + b"\xff" * 8 + PACKED[38:], "cannot be read"),
    "no zstd": (TEXT, "cannot be read"),
    "more behind it": (PACKED + b"more", "cannot be read"),
    "shorter than it says": (zstd(TEXT[:-1]), "not as long as it says"),
    "longer than it says": (zstd(TEXT + b" "), "not as long as it says"),
    "another text": (zstd(TEXT.replace(b"x", b"y")), "CRC-32"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_member_that_is_broken_ends_in_a_sentence(case: str, tmp_path: Path) -> None:
    packed, said = BROKEN[case]
    path = archive(tmp_path / "log.eval", {"samples/a.json": (packed, len(TEXT))})
    with pytest.raises(DataError, match=said):
        list(read_samples(path))
