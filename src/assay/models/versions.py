"""Fine-tuned versions of a model and where they come from.

A version never changes: an adapter (PEFT's two files) or, after full fine-tuning, a whole model
(transformers' two files), and a record of all that made it. Its id is the hash of both, so a
version cannot be altered without being noticed, and the same training saved twice is one version.
They are kept in `<state>/versions`, or in a bucket where there is one.
"""

from __future__ import annotations

import hashlib
import json
import re
import weakref
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from assay.errors import ModelError
from assay.example import json_sha256
from assay.models.stored_versions import FolderVersions, StoredVersion, VersionPlace, altered
from assay.models.trust import read_json, weight_files
from assay.progress import Progress
from assay.store.files import sha256_file
from assay.store.object_place import objects_of

if TYPE_CHECKING:
    from assay.models.bucket_versions import BucketVersions
    from assay.store.store import Store

ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
MODEL = "model.safetensors"
MODEL_CONFIG = "config.json"
REFERENCE = "version:"
"""What a reference to a version begins with, as a model: `version:ID`, or `version:ID/BITS` where
its weights are held in fewer bits than 16."""
COARSE_BITS = (8, 4)
"""Bits of a weight that a version can be held in, beside 16."""
REMOVAL = "versions.lock"
"""Held by whoever removes a version, from seeing that nobody needs it until it is gone."""
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
        stopped: where its training was ended before the last step of its settings, and why; None:
            it was not.
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
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What is known of a version.

    Attributes:
        id: sha256 (hex) of its record and its files.
        saved_at: UTC, ISO 8601; no part of the id, as little as the owner.
        owner: the project whose job trained it; None: the project that the folder is.
    """

    id: str
    record: VersionRecord
    saved_at: str
    owner: str | None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class LocalVersion(Version):
    """A version with its files on this disk, which stay there as long as this value is in use.

    Attributes:
        folder: for `load(record.base, adapter=folder)`, or `weights=folder` when it is whole.
    """

    folder: Path

    @property
    def whole(self) -> bool:
        """Whether all weights were trained and are here, rather than an adapter."""
        return is_whole(self.folder)

    @property
    def has_layers(self) -> bool:
        """Whether it is an adapter with whole layers, such as embeddings: what answers is then a
        merged model, never the base that others share."""
        if self.whole:
            return False
        return bool(read_json(self.folder / ADAPTER_CONFIG).get("modules_to_save"))


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


def base_of(store: Store, model: str) -> str:
    """The base model of a reference: of a version the one it was trained from, else itself.

    Raises:
        ModelError: there is no such version.
    """
    id = version_id(model)
    return model if id is None else find_version(store, id).record.base


def is_whole(folder: Path) -> bool:
    """Whether the trainer left a whole model in a folder, rather than an adapter."""
    return (folder / MODEL_CONFIG).is_file()


def save_version(store: Store, made: Path, record: VersionRecord, owner: str | None = None) -> str:
    """Keep what a training has made in the folder `made` with its record; returns its id.

    Args:
        owner: see `Version`; who trained it first, where two have done the same.

    Raises:
        ModelError: the folder holds no whole safetensors adapter or model.
        ObjectsError: versions are in a bucket, which is out of reach.
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
    identity, place = _identity(record, files), _place_of(store)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    body = record.model_dump(mode="json")
    version = StoredVersion(identity, at, owner, files, body, place.address)
    place.keep(version, {weights: made / weights, config_name: config_text})
    return identity


def load_version(store: Store, id: str) -> LocalVersion:
    """The version `id` (or the one that starts with it), every file checked against its hash.

    Raises:
        ModelError: no such version, several that start so, or a file that is not as it was saved.
        ObjectsError: versions are in a bucket, which is out of reach, and there is no copy here.
    """
    place = _place_of(store)
    stored = place.read(_find(place, id))
    version, files = _parse(stored), stored.files
    whole = set(files) in ({ADAPTER, ADAPTER_CONFIG}, {MODEL, MODEL_CONFIG})
    if not whole or _identity(version.record, files) != version.id:
        raise altered(stored.where)
    held = ExitStack()
    folder = held.enter_context(place.hold(stored))
    found = LocalVersion(version.id, version.record, version.saved_at, version.owner, folder)
    weakref.finalize(found, held.close)
    return found


def lend_folder(store: Store, version: LocalVersion) -> Path:
    """Where another program may read the files of a version, whenever it likes: also once this
    process has ended. The path is the same for all processes of a state folder."""
    return _place_of(store).lend(version.id, version.folder).resolve()


def find_version(store: Store, id: str) -> Version:
    """The version `id` (or the one that starts with it) as its record says; nothing is hashed.

    Raises:
        ModelError: no such version, several that start so, or a record that cannot be read.
    """
    place = _place_of(store)
    return _parse(place.read(_find(place, id)))


def full_id(store: Store, id: str) -> str:
    """The whole id of the version that starts with `id`; its record is not read.

    Raises:
        ModelError: no such version, or several that start so.
    """
    return _find(_place_of(store), id)


def is_saved(store: Store, id: str) -> bool:
    """Whether a version is there, by its whole id."""
    return bool(_place_of(store).ids(id))


def list_versions(store: Store) -> list[Version]:
    """All versions, oldest first. Files are not hashed here; `load_version` does that.

    Raises:
        ModelError: a record that cannot be read.
    """
    found = (_parse(stored) for stored in _place_of(store).read_all())
    return sorted(found, key=lambda v: (v.saved_at, v.id))


@contextmanager
def version_kept(store: Store, model: str) -> Iterator[None]:
    """Let nobody remove the version that a model reference names, until the block ends.

    Raises:
        ModelError: there is no such version.
    """
    if (id := version_id(model)) is None:
        yield
        return
    with store.lock(REMOVAL):
        full_id(store, id)
        yield


def remove_version(store: Store, id: str) -> None:
    """Remove a version, by its whole id, that nobody needs; whoever calls holds `REMOVAL`."""
    _place_of(store).remove(id)


def version_bytes(store: Store, ids: Collection[str]) -> int:
    """What versions take together, by their whole ids; one that is not there takes nothing."""
    return _place_of(store).count_bytes(ids)


def sweep_versions(store: Store) -> None:
    """Move the versions of the folder into the bucket, where there is one now.

    Raises:
        ObjectsError: it is out of reach.
    """
    if store.bucket is not None:
        _bucket_versions(store).sweep()


def copy_to_folder(store: Store, progress: Progress) -> list[str]:
    """Put every version that is in the bucket into the folder as well, checked.

    Returns:
        `versions/ID` of each whose objects are gone.

    Raises:
        ModelError: one is damaged, here or there.
        ObjectsError: the bucket is out of reach.
    """
    place, folder, missing = _bucket_versions(store), FolderVersions(store.folder), []
    with progress.task("Copying versions", len(place.ids("")), "versions") as task:
        for version in place.read_all():
            task.advance()
            with ExitStack() as held:
                try:
                    files = held.enter_context(place.hold(version))
                except ModelError:  # gone; of damage there are other errors
                    missing.append(f"versions/{version.id}")
                    continue
                folder.keep(version, {name: files / name for name in version.files})
                held.enter_context(folder.hold(version))  # as its hashes say
    return missing


def _place_of(store: Store) -> VersionPlace:
    if store.bucket is not None:
        return _bucket_versions(store)
    objects_of(store)  # refuses to begin anew where a setting was lost
    return FolderVersions(store.folder)


def _bucket_versions(store: Store) -> BucketVersions:
    from assay.models.bucket_versions import BucketVersions  # not needed without a bucket

    return BucketVersions(store, FolderVersions(store.folder))


def _identity(record: VersionRecord, files: dict[str, str]) -> str:
    raw = record.model_dump(mode="json")
    for later in ("split", "stopped"):
        if raw[later] is None:
            del raw[later]  # records from before it was kept have their old id
    whole = {"record": raw, "files": files}
    return json_sha256(whole)


def _find(place: VersionPlace, id: str) -> str:
    found: Collection[str] = ()
    if re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_PREFIX},64}}", id):
        found = place.ids(id)
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise ModelError(
            f"{len(found)} versions start with {id}.", fix="Give more digits of the id."
        )
    raise ModelError(
        f"there is no version {id!r}.",
        where=place.address,
        fix=f"Give an id of this project's versions, at least its first {_SHORTEST_PREFIX} digits.",
    )


def _parse(stored: StoredVersion) -> Version:
    try:
        record = VersionRecord.model_validate(stored.record)
    except ValidationError:
        raise altered(stored.where) from None
    return Version(stored.id, record, stored.saved_at, stored.owner)
