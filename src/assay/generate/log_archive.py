"""The samples of an Inspect `.eval`: a zip archive that Inspect packs with zstd.

Zip calls that method 93, which `zipfile` does not know (before Python 3.14, and then without a
member of several frames, as Inspect writes one of more than 200 MiB); pyarrow unpacks it. A frame
that wants more than 128 MiB of memory is refused there.
"""

from __future__ import annotations

import copy
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from assay.errors import DataError

MOST_SAMPLES = 1_000_000
MOST_SAMPLE_BYTES = 64 << 20
"""Of a sample, unpacked."""
MOST_UNPACKED_BYTES = 16 << 30
"""Of all samples, unpacked."""
_FOLDER = "samples/"
_ZSTD = 93


def read_samples(path: Path) -> Iterator[tuple[str, bytes]]:
    """The place of each sample and its JSON. What the archive says of their sizes is looked at
    before the first is unpacked, and holds for each while it is.

    Raises:
        DataError: the archive cannot be read, has no samples, or more than it may.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # Of one name the last counts: a writer that changed a member has added it anew.
            members = {one.filename: one for one in archive.infolist()}
            samples = [one for name, one in members.items() if name.startswith(_FOLDER)]
            _check_sizes(samples, path)
            for one in samples:
                text = _unpacked(archive, one)
                if len(text) != one.file_size:
                    raise zipfile.BadZipFile(f"{one.filename} is not as long as it says")
                yield f"{path}, {one.filename}", text
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        RuntimeError,  # an encrypted member, a way of packing that is not known
        ValueError,
        OSError,
        EOFError,
    ) as error:
        raise DataError(
            f"the log cannot be read ({error}).",
            where=str(path),
            fix="Convert it: inspect log convert --to json --output-dir FOLDER FILE.",
        ) from None


def too_large(where: str, most: int) -> DataError:
    """Of a log that has more bytes than it may."""
    return DataError(
        f"it has more than {most >> 20:,} MiB.",
        where=where,
        fix="Write the log with less in it, or as lines of {id, output}.",
    )


def _check_sizes(samples: list[zipfile.ZipInfo], path: Path) -> None:
    if not samples:
        raise DataError(
            "the file is no log of Inspect: it has no samples.",
            where=str(path),
            fix="Give a .eval file of a run that has ended.",
        )
    if len(samples) > MOST_SAMPLES:
        raise DataError(f"it has more than {MOST_SAMPLES:,} samples.", where=str(path))
    for one in samples:
        if one.file_size > MOST_SAMPLE_BYTES:
            raise too_large(f"{path}, {one.filename}", MOST_SAMPLE_BYTES)
    if sum(one.file_size for one in samples) > MOST_UNPACKED_BYTES:
        raise too_large(f"{path}, unpacked", MOST_UNPACKED_BYTES)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """At most a byte more than the archive says that the member has."""
    if member.compress_type != _ZSTD:
        with archive.open(member) as file:
            return file.read(member.file_size + 1)
    import pyarrow as pa

    packed = copy.copy(member)  # read as it stands there
    packed.compress_type = zipfile.ZIP_STORED
    packed.file_size = packed.compress_size
    del packed.CRC  # it is that of the unpacked bytes
    with archive.open(packed) as file, pa.CompressedInputStream(file, "zstd") as stream:
        text: bytes = stream.read(member.file_size + 1)
    if len(text) == member.file_size and zlib.crc32(text) != member.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {member.filename!r}")
    return text
