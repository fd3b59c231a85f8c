"""The split on disk: train and validation to be read, the holdout locked by its hash.

    train.jsonl, validation.jsonl   what candidates see
    holdout.jsonl                   opened only to compare (`compare/holdout.py`), never from here
    quarantine.jsonl                rows kept out of train and validation, each with its reason
    validation_with_twins.jsonl     only where very much was kept out
    recycled.jsonl                  earlier holdouts that are not in the data file
    manifest.json                   sha256 of each, counts, seed, what was kept out

The folder appears whole or not at all. No function of this room returns rows of the holdout to
another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.config import TaskKind
from assay.data.normal import normalise
from assay.data.quarantine import Quarantine, Reason, RemovedRow
from assay.errors import DataError, HoldoutError, StateError, Step
from assay.example import Example, canonical_json, dump_examples, read_examples
from assay.store.files import new_folder, sha256_file, write_atomic_lines, write_json

TRAIN, VALIDATION, HOLDOUT = "train.jsonl", "validation.jsonl", "holdout.jsonl"
QUARANTINE, WITH_TWINS, RECYCLED = (
    "quarantine.jsonl",
    "validation_with_twins.jsonl",
    "recycled.jsonl",
)
MANIFEST = "manifest.json"
LOCK = "split.lock"
"""In the state folder: whoever replaces a split, or opens its holdout, holds it."""


@dataclass(frozen=True, slots=True)
class SplitManifest:
    """What is in a split, without a word of the holdout.

    Attributes:
        key: hash of all that the split was made from; the same key, the same split.
        generation: 1, and one more each time the holdout was renewed.
        file, format: of the examples.
        drawn_by: settings that decide which rows are in the holdout, by their paths (`locked`);
            empty in splits that were made before they were written down.
        official_split: the holdout is a file of its own, kept as it was (or a renewed one).
        rows, rejected: records read from all files; those that could not be used.
        train, validation, holdout: examples in each part.
        groups: distinct groups in the holdout (an example without a group is one of its own);
            None when no two examples share one.
        problems: how often each problem was found, by code.
        duplicates: `exact` and `near` ones within the files.
        classes: label tasks: rows of each label in train, validation and holdout.
        warnings: sentences a reader of the verdict must see; the quarantine has its own.
        files: sha256 of each file of the folder.
    """

    key: str
    task: TaskKind
    file: str
    format: str
    official_split: bool
    rows: int
    rejected: int
    seed: int
    drawn_by: dict[str, Any] = field(default_factory=dict)
    generation: int = 1
    train: int = 0
    validation: int = 0
    holdout: int = 0
    groups: int | None = None
    problems: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    classes: dict[str, list[int]] = field(default_factory=dict)
    quarantine: Quarantine = field(default_factory=Quarantine)
    warnings: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def holdout_sha256(self) -> str:
        """What the holdout is locked with."""
        return self.files[HOLDOUT]

    @property
    def train_sha256(self) -> str:
        """The hash of the file of training rows."""
        return self.files[TRAIN]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> SplitManifest:
        """The manifest that `to_dict` wrote; fields of a later version are ignored."""
        known = {f.name for f in fields(cls)}
        given = {name: value for name, value in raw.items() if name in known}
        return cls(**{**given, "quarantine": Quarantine(**raw["quarantine"])})


def write_split(
    folder: Path,
    train: Sequence[Example],
    validation: Sequence[Example],
    holdout: Sequence[Example],
    about: SplitManifest,
    *,
    removed: Iterable[RemovedRow] = (),
    with_twins: Sequence[Example] | None = None,
    recycled: Sequence[Example] = (),
) -> SplitManifest:
    """Write a split and lock its holdout; a split that is already there is replaced.

    Args:
        about: what is known of it; counts, classes, groups and hashes are filled in here.

    Raises:
        HoldoutError: a row of train or validation says the same as one of the holdout.
    """
    held = {normalise(e.input) for e in holdout}
    if any(normalise(e.input) in held for part in (train, validation) for e in part):
        raise HoldoutError(
            "a row of train or validation is also in the holdout, so nothing was written."
        )
    with new_folder(folder) as draft:
        parts = {TRAIN: train, VALIDATION: validation, HOLDOUT: holdout}
        parts |= {WITH_TWINS: with_twins} if with_twins is not None else {}
        parts |= {RECYCLED: recycled} if recycled else {}
        for name, examples in parts.items():
            write_atomic_lines(draft / name, dump_examples(examples))
        lines = (
            canonical_json({"part": r.part, "reason": r.reason, "example": r.example.to_dict()})
            for r in removed
        )
        write_atomic_lines(draft / QUARANTINE, (line + "\n" for line in lines))
        manifest = replace(
            about,
            train=len(train),
            validation=len(validation),
            holdout=len(holdout),
            groups=_groups(holdout),
            classes=_classes(train, validation, holdout) if about.task == "label" else {},
            files={name: sha256_file(draft / name) for name in (*parts, QUARANTINE)},
        )
        write_json(draft / MANIFEST, manifest.to_dict())
    return manifest


def _groups(holdout: Sequence[Example]) -> int | None:
    groups = [example.group for example in holdout if example.group is not None]
    if len(set(groups)) == len(groups):
        return None
    return len(set(groups)) + len(holdout) - len(groups)


def _classes(*parts: Sequence[Example]) -> dict[str, list[int]]:
    counts = [Counter(example.output for example in part) for part in parts]
    labels = sorted(set().union(*counts))
    return {label: [count[label] for count in counts] for label in labels}


def refuse_other(folder: Path, manifest: SplitManifest) -> None:
    """See, after files of a folder were read, that they were of the split of this manifest.

    Raises:
        StateError: they may be of another one.
    """
    if read_manifest(folder).files != manifest.files:
        raise StateError(
            "the examples were split again, by another process or server, while they were read.",
            fix="Try again.",
        )


def visible_files(folder: Path) -> tuple[Path, Path]:
    """Train and validation, one example a line; the holdout's file is named to nobody."""
    return folder / TRAIN, folder / VALIDATION


def find_quarantined(
    folder: Path, said: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Reason]:
    """Why rows that somebody brought are in quarantine, of those that are.

    Args:
        said: input and output of the rows that are asked for.
    """
    found: dict[tuple[str, str], Reason] = {}
    with (folder / QUARANTINE).open(encoding="utf-8") as lines:
        for line in lines:
            row = json_reader.read(line)
            example = Example.from_dict(row["example"])
            if (text := (example.input, example.output)) in said:
                found[text] = row["reason"]
    return found


def has_split(folder: Path) -> bool:
    """Whether rows were ever locked away in a folder."""
    return (folder / MANIFEST).exists()


NOT_DELETED = (
    "Restore it from a backup. If no comparison has opened the holdout yet, you can delete the "
    f"folder instead; {Step.SPLIT} then splits the data again."
)


def read_manifest(folder: Path) -> SplitManifest:
    """What is in the split of a folder.

    Raises:
        DataError: there is none.
    """
    path = folder / MANIFEST
    try:
        return SplitManifest.from_dict(json_reader.read(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(
            "the data has not been split yet.",
            where=str(folder),
            fix=f"{Step.SPLIT} splits it.",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise HoldoutError(
            "the manifest of the split was changed and cannot be read.",
            where=str(path),
            fix=NOT_DELETED,
        ) from None


def verify_split(folder: Path) -> SplitManifest:
    """The manifest, after every file of the split was found to be as it was written.

    Raises:
        DataError: there is no split.
        HoldoutError: a file is missing or was changed.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = folder / name
        if path.exists() and sha256_file(path) == expected:
            continue
        what = "was changed after it was written" if path.exists() else "is missing"
        if name == HOLDOUT:
            raise HoldoutError(
                f"the locked holdout {what}, so nothing measured on it would be valid.",
                where=str(path),
                fix=f"Restore it, or start afresh with {Step.RENEW_HOLDOUT}.",
            )
        raise HoldoutError(
            f"this part of the split {what}, so it may contain rows of the holdout.",
            where=str(path),
            fix=NOT_DELETED,
        )
    return manifest


def load_train(folder: Path) -> list[Example]:
    """The training rows, after the whole split was verified (errors as `verify_split`)."""
    verify_split(folder)
    return list(read_examples(folder / TRAIN))


def load_validation(folder: Path) -> list[Example]:
    """The validation rows, after the whole split was verified (errors as `verify_split`)."""
    verify_split(folder)
    return list(read_examples(folder / VALIDATION))


def load_validation_with_twins(folder: Path) -> list[Example] | None:
    """The validation rows before quarantine, where so much was kept out; else None."""
    kept = WITH_TWINS in verify_split(folder).files
    return list(read_examples(folder / WITH_TWINS)) if kept else None
