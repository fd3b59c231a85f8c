"""Which rows a version saw, kept once, and which versions a row has gone into."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.models.test_versions import RECORD

from assay.example import Example, canonical_json
from assay.models.lineage import differences, find_uses, keep_rows, rows_of, unknown_rows
from assay.models.versions import VersionRecord, find_version, load_version, save_version
from assay.store.store import Store


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file({"lora_A": torch.arange(6.0)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    return folder


def rows(*numbers: int) -> list[Example]:
    return [Example.of(f"input {n}", f"output {n}", id=f"row-{n}") for n in numbers]


def test_rows_are_kept_once_under_the_records_own_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = keep_rows(store, rows(1, 2, 3))
    assert name == keep_rows(store, rows(1, 2, 3))
    assert rows_of(store, name) == [example.content_hash() for example in rows(1, 2, 3)]
    joined = "".join(example.content_hash() for example in rows(1, 2, 3))
    assert name == hashlib.sha256(joined.encode()).hexdigest()
    assert rows_of(store, "0" * 64) is None
    assert rows_of(store, keep_rows(store, [])) == []


def test_an_example_finds_its_versions(tmp_path: Path, adapter: Path) -> None:
    store = Store(tmp_path)

    def save(seed: int, **data: str) -> str:
        return save_version(store, adapter, RECORD.model_copy(update={"seed": seed, "data": data}))

    # A teacher's distributions are no rows, and nothing of the version is unknown for them.
    first = save(
        1,
        teacher="f" * 64,
        train=keep_rows(store, rows(1, 2)),
        validation=keep_rows(store, rows(9)),
    )
    second = save(2, train=keep_rows(store, rows(2, 3)), validation=keep_rows(store, rows(1)))
    old = save(3, train="0" * 64)
    one, two, four = (rows(n)[0].content_hash() for n in (1, 2, 4))
    everything = [load_version(store, id) for id in (first, second, old)]
    found = {use.version.id: use.parts for use in find_uses(store, everything, [one])}
    assert found == {first: {"train": 1}, second: {"validation": 1}}
    both = {use.version.id: use.parts for use in find_uses(store, everything, [one, two])}
    assert both == {first: {"train": 2}, second: {"train": 1, "validation": 1}}
    assert find_uses(store, everything, [four]) == []
    assert [version.id for version in unknown_rows(store, everything)] == [old]


def test_what_two_records_say_differently(tmp_path: Path, adapter: Path) -> None:
    store = Store(tmp_path)
    other = RECORD.model_copy(
        update={"seed": 1, "settings": {"rank": 8, "learning_rate": 1e-3}, "parent": "p"}
    )
    a, b = (find_version(store, save_version(store, adapter, r)) for r in (RECORD, other))
    assert differences(a, b) == {
        "parent": (None, "p"),
        "seed": (0, 1),
        "settings.rank": (16, 8),
    }
    assert differences(a, a) == {}


def test_versions_from_before_something_was_kept_have_their_old_id(
    tmp_path: Path, adapter: Path
) -> None:
    store = Store(tmp_path)
    id = save_version(store, adapter, RECORD)
    files = json.loads((tmp_path / "versions" / id / "version.json").read_text())["files"]
    before = RECORD.model_dump(mode="json")
    del before["split"], before["stopped"]
    raw = canonical_json({"record": before, "files": files})
    assert id == hashlib.sha256(raw.encode()).hexdigest()
    file = tmp_path / "versions" / id / "version.json"
    text = json.loads(file.read_text())
    del text["record"]["split"], text["record"]["stopped"]  # as it was written then
    file.unlink()
    file.write_text(json.dumps(text))
    assert load_version(store, id).record == VersionRecord(**before)
    for more in ({"split": "5" * 64}, {"stopped": "after step 1 of 9: enough"}):
        assert save_version(store, adapter, RECORD.model_copy(update=more)) != id
