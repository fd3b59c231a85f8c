"""Versions: content-addressed, immutable, and any change to them is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ModelError
from assay.models.versions import VersionRecord, list_versions, load_version, save_version
from assay.store.store import Store

RECORD = VersionRecord(
    base="smollm2-135m-instruct",
    base_sha256="b" * 64,
    data={"train": "1" * 64, "validation": "2" * 64},
    settings={"rank": 16, "learning_rate": 1e-3},
    seed=0,
    code="0.1.0",
    template={"text": "{{ messages }}", "arguments": {}},
    template_sha256="3" * 64,
    metrics={"validation_loss": 0.25},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file({"lora_A": torch.arange(6.0)}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": "/home/someone/cache"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "training_state.bin").write_bytes(b"not to be kept")
    return folder


def test_saved_and_loaded(store: Store, tmp_path: Path, adapter: Path) -> None:
    id = save_version(store, adapter, RECORD)
    version = load_version(store, id)
    assert version.folder == tmp_path / "versions" / id
    assert (version.id, version.record) == (id, RECORD)
    assert load_version(store, id[:8]) == version
    names = {file.name for file in version.folder.iterdir()}
    assert names == {"adapter_model.safetensors", "adapter_config.json", "version.json"}
    assert "/home/someone" not in (version.folder / "adapter_config.json").read_text()


def test_equal_training_is_one_version_on_every_machine(store: Store, adapter: Path) -> None:
    first = save_version(store, adapter, RECORD)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/elsewhere"
    (adapter / "adapter_config.json").write_text(json.dumps(config, indent=3))
    assert save_version(store, adapter, RECORD) == first
    assert len(list_versions(store)) == 1


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"parent": "x"}, {"data": {}}, {"metrics": {}}, {"settings": {"r": 1}}]
)
def test_any_other_record_is_another_version(
    store: Store, adapter: Path, change: dict[str, Any]
) -> None:
    first = save_version(store, adapter, RECORD)
    assert save_version(store, adapter, RECORD.model_copy(update=change)) != first
    assert len(list_versions(store)) == 2


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
@pytest.mark.parametrize("what", ["bit", "cut", "gone"])
def test_changed_files_are_noticed(
    store: Store, tmp_path: Path, adapter: Path, name: str, what: str
) -> None:
    id = save_version(store, adapter, RECORD)
    file = tmp_path / "versions" / id / name
    raw = bytearray(file.read_bytes())
    file.unlink()
    if what == "bit":
        raw[-3] ^= 1
    if what != "gone":
        file.write_bytes(raw[: 10 if what == "cut" else None])
    with pytest.raises(ModelError, match=f"{name}: this file has changed since it was saved"):
        load_version(store, id)


@pytest.mark.parametrize("edit", [("seed", 1), ("base", "other"), ("nonsense", 1)])
def test_changed_record_is_noticed(
    store: Store, tmp_path: Path, adapter: Path, edit: tuple[str, Any]
) -> None:
    id = save_version(store, adapter, RECORD)
    file = tmp_path / "versions" / id / "version.json"
    raw = json.loads(file.read_text())
    raw["record"][edit[0]] = edit[1]
    file.unlink()
    file.write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=r"version.json: this file has changed since it was saved"):
        load_version(store, id)


def test_files_of_a_version_cannot_be_written_to(store: Store, adapter: Path) -> None:
    version = load_version(store, save_version(store, adapter, RECORD))
    assert all(file.stat().st_mode & 0o222 == 0 for file in version.folder.iterdir())


def test_pickled_or_missing_adapter_is_refused(store: Store, tmp_path: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickles"):
        save_version(store, adapter, RECORD)
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        save_version(store, tmp_path, RECORD)
    assert list_versions(store) == []


def test_interrupted_save_leaves_nothing(
    store: Store, tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("assay.models.stored_versions.write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_version(store, adapter, RECORD)
    assert list((tmp_path / "versions").iterdir()) == []


@pytest.mark.parametrize("id", ["abc", "0" * 64, "../versions", "zzzzzz", ""])
def test_unknown_version(store: Store, adapter: Path, id: str) -> None:
    save_version(store, adapter, RECORD)
    with pytest.raises(ModelError, match="there is no version"):
        load_version(store, id)


def test_list_is_in_the_order_of_saving(
    store: Store, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime

    ids = []
    for minute in (1, 2, 3):
        now = datetime(2025, 1, 1, 0, minute, tzinfo=UTC)

        class Clock(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:
                return now  # noqa: B023

        monkeypatch.setattr("assay.models.versions.datetime", Clock)
        ids.append(save_version(store, adapter, RECORD.model_copy(update={"seed": minute})))
    assert [version.id for version in list_versions(store)] == ids
