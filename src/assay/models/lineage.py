"""Which rows a version was trained on, and which versions a row has gone into.

A record's data hash is the sha256 of its rows' hashes in a row. That very text is kept as a blob,
once for all versions that share it, so a record of constant size still answers which rows they
were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from assay.example import Example
from assay.models.versions import Version
from assay.store import blobs
from assay.store.store import Store

TEACHER = "teacher"
"""Of a record's data: a teacher's distributions over the rows of train."""
DOCUMENTS = "documents"
"""Of a record's data: the texts that were learned."""
DOCUMENT_FILES = "document_files"
"""Of a record's data: the files that these texts were read from; see `keep_files`."""
GRADERS = "graders"
"""Of a record's data: all that the rewards depend on beside the rows."""
START = "start"
"""Of a record's data: the version that was trained further."""
_NO_ROWS = {TEACHER, DOCUMENTS, DOCUMENT_FILES, GRADERS, START}
_HEX = 64  # digits of the hash of a row, or of a file


@dataclass(frozen=True, slots=True)
class VersionUse:
    """A version that saw some rows.

    Attributes:
        parts: what each of its data was to it (`train`, `validation`), and how many of the rows
            that were asked about are in it.
    """

    version: Version
    parts: dict[str, int]


def rows_seen(version: Version) -> dict[str, str]:
    """What of a record's data is rows: part -> hash."""
    return {part: data for part, data in version.record.data.items() if part not in _NO_ROWS}


def keep_rows(store: Store, examples: Iterable[Example]) -> str:
    """Remember which rows these are; returns their `rows_sha256`."""
    return blobs.put(store, _joined(examples))


def rows_sha256(examples: Iterable[Example]) -> str:
    """The hash that a `VersionRecord` names rows by: what they say, in their order."""
    return hashlib.sha256(_joined(examples)).hexdigest()


def _joined(examples: Iterable[Example]) -> bytes:
    return "".join(example.content_hash() for example in examples).encode()


def rows_of(store: Store, data: str) -> list[str] | None:
    """`Example.content_hash` of each row behind a data hash, in order; None: not kept."""
    if not blobs.has(store, data):
        return None
    text = blobs.get(store, data).decode()
    return [text[start : start + _HEX] for start in range(0, len(text), _HEX)]


def find_uses(store: Store, versions: Iterable[Version], rows: Iterable[str]) -> list[VersionUse]:
    """Those of the versions that saw any of these rows (by `Example.content_hash`)."""
    wanted = set(rows)
    known: dict[str, list[str] | None] = {}
    found = []
    for version in versions:
        parts = {}
        for part, data in rows_seen(version).items():
            if data not in known:
                known[data] = rows_of(store, data)
            if count := len(wanted.intersection(known[data] or ())):
                parts[part] = count
        if parts:
            found.append(VersionUse(version, parts))
    return found


def keep_files(store: Store, files: Iterable[str]) -> str:
    """Remember of which files a version has learned the text; returns what the record names them
    by.

    Args:
        files: the sha256 (hex) of the bytes of each.
    """
    return blobs.put(store, "".join(sorted(files)).encode())


def find_learned(
    store: Store, versions: Iterable[Version], files: Iterable[str]
) -> dict[str, Version]:
    """By their ids, the versions that have learned the text of one of these files (sha256 of its
    bytes), and those that were trained further from such a version."""
    wanted, there = set(files), list(versions)
    found = {
        version.id: version
        for version in there
        if (data := version.record.data.get(DOCUMENT_FILES)) is not None
        and not wanted.isdisjoint(rows_of(store, data) or ())
    }
    more = found
    while more:
        more = {
            version.id: version
            for version in there
            if version.record.parent in more and version.id not in found
        }
        found |= more
    return found


def unknown_rows(store: Store, versions: Iterable[Version]) -> list[Version]:
    """Versions of which it is not known which rows they saw: made before rows were kept."""
    return [
        v for v in versions if any(not blobs.has(store, data) for data in rows_seen(v).values())
    ]


def differences(one: Version, other: Version) -> dict[str, tuple[object, object]]:
    """What two records say differently, by the path of the field; None: it is not there."""
    return compare_settings(
        one.record.model_dump(mode="json"), other.record.model_dump(mode="json")
    )


def compare_settings(
    one: Mapping[str, object], other: Mapping[str, object]
) -> dict[str, tuple[object, object]]:
    """What two trees of settings say differently, by path; None: it is not there."""
    a, b = _flat(one), _flat(other)
    return {
        path: (a.get(path), b.get(path))
        for path in sorted(a.keys() | b.keys())
        if a.get(path) != b.get(path)
    }


def _flat(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            found |= _flat(item, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = item
    return found
