"""Fine-tuned versions of a model and where they come from.

A version is a folder `<state>/versions/<id>/` that never changes: an adapter (PEFT's two files) or,
after full fine-tuning, a whole model (transformers' two files), and a record of all that made it.
Its id is the hash of both, so a version cannot be altered without being noticed, and the same
training saved twice is one version.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from assay.errors import ModelError
from assay.example import json_sha256
from assay.models.trust import read_json, weight_files
from assay.store.files import new_folder, sha256_file, write_atomic, write_json

ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
MODEL = "model.safetensors"
MODEL_CONFIG = "config.json"
REFERENCE = "version:"
"""What a reference to a version begins with, as a model: `version:ID`, or `version:ID/BITS` where
its weights are held in fewer bits than 16."""
COARSE_BITS = (8, 4)
"""Bits of a weight that a version can be held in, beside 16."""
_RECORD = "version.json"
_SHORTEST_PREFIX = 6


class VersionRecord(BaseModel):
    """All that made a version. JSON values only.

    Attributes:
        base: the model it was trained from, as `load` takes it.
        base_sha256: of the base's weights.
        data: name of each file or part it saw (`train`, `validation`; `asked`: the rows whose
            inputs a teacher answered) -> hash of its rows, see `models/lineage.py`.
        split: sha256 of the holdout that was locked away from it; None: there was none, or it was
            made before this was kept.
        settings: of the trainer.
        code: version of Assay that trained it.
        template: the frozen chat template (`Template.to_dict()`).
        template_sha256: `Template.sha256`.
        metrics: what was measured while it was trained (validation loss, seconds, steps).
        parent: id of the version it continues, or None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    base_sha256: str
    data: dict[str, str]
    split: str | None = None
    settings: dict[str, Any]
    seed: int
    code: str
    template: dict[str, Any]
    template_sha256: str
    metrics: dict[str, float] = {}
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A version on disk.

    Attributes:
        id: sha256 (hex) of its record and its files.
        folder: for `load(record.base, adapter=folder)`, or `weights=folder` when it is whole.
        saved_at: UTC, ISO 8601; no part of the id, as little as the owner.
        owner: the project whose job trained it; None: the project that the folder is.
    """

    id: str
    folder: Path
    record: VersionRecord
    saved_at: str
    owner: str | None = None

    @property
    def whole(self) -> bool:
        """Whether all weights were trained and are here, rather than an adapter."""
        return is_whole(self.folder)


def version_id(model: str) -> str | None:
    """Id (or its first digits) of the version that a model reference names; None: of no version."""
    if not model.startswith(REFERENCE):
        return None
    return model.removeprefix(REFERENCE).partition("/")[0]


def version_bits(model: str) -> int:
    """Bits of a weight that a model reference asks for; 16 of all but `version:ID/BITS`.

    Raises:
        ModelError: weights are not held in so many.
    """
    version, slash, bits = model.partition("/")
    if not slash or not model.startswith(REFERENCE):
        return 16
    if bits not in map(str, COARSE_BITS):
        choice = ", ".join(f"{version}/{bits}" for bits in COARSE_BITS)
        raise ModelError(
            f"weights cannot be stored in {bits!r} bits.", where=model, fix=f"Use one of: {choice}."
        )
    return int(bits)


def base_of(state_folder: Path, model: str) -> str:
    """The base model of a reference: of a version the one it was trained from, else itself.

    Raises:
        ModelError: there is no such version.
    """
    id = version_id(model)
    return model if id is None else find_version(state_folder, id).record.base


def is_whole(folder: Path) -> bool:
    """Whether the trainer left a whole model in a folder, rather than an adapter."""
    return (folder / MODEL_CONFIG).is_file()


def versions_folder(state_folder: Path) -> Path:
    """Where the versions of a project are."""
    return state_folder / "versions"


def save_version(
    state_folder: Path, made: Path, record: VersionRecord, owner: str | None = None
) -> str:
    """Keep what a training has made in the folder `made` with its record; returns its id.

    Args:
        owner: see `Version`; who trained it first, where two have done the same.

    Raises:
        ModelError: the folder holds no whole safetensors adapter or model.
    """
    weights, config_name = (MODEL, MODEL_CONFIG) if is_whole(made) else (ADAPTER, ADAPTER_CONFIG)
    config = read_json(made / config_name)
    if made / weights not in weight_files(made):
        raise ModelError(f"there is no {weights} here.", where=str(made))
    if config_name == ADAPTER_CONFIG:
        # peft writes the base's place on this machine; a version is the same wherever it was made.
        config["base_model_name_or_path"] = record.base
    config_text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    files = {
        weights: sha256_file(made / weights),
        config_name: hashlib.sha256(config_text.encode()).hexdigest(),
    }
    identity = _identity(record, files)
    target = versions_folder(state_folder) / identity
    if target.exists():
        return identity
    with new_folder(target) as draft:
        shutil.copyfile(made / weights, draft / weights)
        write_atomic(draft / config_name, config_text)
        write_json(
            draft / _RECORD,
            {
                "id": identity,
                "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "owner": owner,
                "files": files,
                "record": record.model_dump(mode="json"),
            },
        )
        for file in draft.iterdir():
            file.chmod(0o444)
    return identity


def load_version(state_folder: Path, id: str) -> Version:
    """The version `id` (or the one that starts with it), every file checked against its hash.

    Raises:
        ModelError: no such version, several that start so, or a file that is not as it was saved.
    """
    folder = _find(versions_folder(state_folder), id)
    version, files = _read(folder)
    for name, digest in files.items():
        file = folder / name
        if not file.is_file() or sha256_file(file) != digest:
            raise _altered(file)
    whole = set(files) in ({ADAPTER, ADAPTER_CONFIG}, {MODEL, MODEL_CONFIG})
    if not whole or _identity(version.record, files) != folder.name:
        raise _altered(folder / _RECORD)
    return version


def find_version(state_folder: Path, id: str) -> Version:
    """The version `id` (or the one that starts with it) as its record says; nothing is hashed.

    Raises:
        ModelError: no such version, several that start so, or a record that cannot be read.
    """
    return _read(_find(versions_folder(state_folder), id))[0]


def full_id(state_folder: Path, id: str) -> str:
    """The whole id of the version that starts with `id`; its record is not read.

    Raises:
        ModelError: no such version, or several that start so.
    """
    return _find(versions_folder(state_folder), id).name


def list_versions(state_folder: Path) -> list[Version]:
    """All versions, oldest first. Files are not hashed here; `load_version` does that.

    Raises:
        ModelError: a record that cannot be read.
    """
    root = versions_folder(state_folder)
    folders = [f for f in root.glob("*") if f.is_dir() and not f.name.startswith(".")]
    return sorted((_read(folder)[0] for folder in folders), key=lambda v: (v.saved_at, v.id))


def _identity(record: VersionRecord, files: dict[str, str]) -> str:
    raw = record.model_dump(mode="json")
    if record.split is None:
        del raw["split"]  # records from before it was kept have their old id
    whole = {"record": raw, "files": files}
    return json_sha256(whole)


def _find(root: Path, id: str) -> Path:
    found = []
    if re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_PREFIX},64}}", id):
        found = sorted(root.glob(f"{id}*"))
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelError(
            f"{len(found)} versions start with {id}.", fix="Give more digits of the id."
        )
    raise ModelError(
        f"there is no version {id!r}.",
        where=str(root),
        fix=f"Give an id of this project's versions, at least its first {_SHORTEST_PREFIX} digits.",
    )


def _read(folder: Path) -> tuple[Version, dict[str, str]]:
    raw = read_json(folder / _RECORD)
    try:
        record = VersionRecord.model_validate(raw["record"])
        version = Version(folder.name, folder, record, str(raw["saved_at"]), raw.get("owner"))
        return version, dict(raw["files"])
    except (KeyError, ValueError, TypeError, ValidationError):
        raise _altered(folder / _RECORD) from None


def _altered(file: Path) -> ModelError:
    return ModelError(
        "this file has changed since it was saved.",
        where=str(file),
        fix="Restore it from a backup, or train the version again.",
    )
