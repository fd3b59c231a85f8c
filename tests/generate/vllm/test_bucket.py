"""Versions in a bucket before a vLLM server: fetched by whichever server is asked, checked, and
lent to vLLM for as long as it may read them."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from tests.generate.test_local_pool import _evaluated, _text, _version
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.generate.vllm.fake import FakeVllm, fake_vllm
from tests.many_rows import project
from tests.s3 import S3Server

from assay.config.yaml_text import edit
from assay.errors import ObjectsError
from assay.generate.stream import EnginePool, StreamEngine
from assay.models.tuned import load_tuned
from assay.models.versions import load_version, remove_version, sweep_versions
from assay.project.workspace import Workspace

pytestmark = pytest.mark.slow
WEIGHTS = "adapter_model.safetensors"
AT_ONCE = 4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def fake(base: str) -> Iterator[FakeVllm]:
    with fake_vllm(base) as running:
        yield running


@pytest.fixture
def trained(
    fake: FakeVllm,
    bucket: str,
    empty_postgres: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Workspace, str]:
    """The folder in which a version was trained, and its id; its files are in the bucket."""
    monkeypatch.setenv("ASSAY_DATABASE", empty_postgres)
    monkeypatch.setenv("ASSAY_OBJECTS", bucket)
    one = served_by(fake, tmp_path / "one")
    id = _version(one.store.folder, fake.base, "lora", tmp_path / "made")
    sweep_versions(one.store)
    return one, id


@pytest.fixture
def two(fake: FakeVllm, trained: tuple[Workspace, str], tmp_path: Path) -> Workspace:
    """Another server's folder, before the same database and bucket."""
    record = trained[0].store.folder / "database.json"
    (tmp_path / "two" / ".assay").mkdir(parents=True, mode=0o700)
    shutil.copy(record, tmp_path / "two" / ".assay")
    return served_by(fake, tmp_path / "two")


def served_by(fake: FakeVllm, folder: Path) -> Workspace:
    """A project whose models vLLM holds."""
    folder.mkdir(exist_ok=True)
    made = project(folder, 3)
    file = folder / "assay.yaml"
    url = fake.settings.base_url
    file.write_text(edit(file.read_text(), {"model": fake.base, "vllm": {"base_url": url}}))
    return Workspace(made.root)


def ask_at_once(engines: EnginePool, model: str) -> list[str]:
    """What as many are answered who ask at the same moment."""
    begin = Barrier(AT_ONCE)

    def ask(_: int) -> StreamEngine:
        begin.wait(90)
        return engines.engine(model)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [_text(engine) for engine in pool.map(ask, range(AT_ONCE))]


def test_those_who_ask_at_once_have_it_fetched_checked_and_loaded_once(
    fake: FakeVllm, trained: tuple[Workspace, str], two: Workspace, s3: S3Server
) -> None:
    one, id = trained
    wanted, loads, fetched = _evaluated(load_tuned(load_version(one.store, id))), [], []

    def load() -> None:
        loads.append(id)
        time.sleep(0.5)  # whoever asks meanwhile would load it, too

    fake.before_load = load
    s3.before = lambda method, path: fetched.append(path) if method == "GET" else None
    [key] = [key for key in s3.keys("bkt/here/versions/") if WEIGHTS in key]
    weights, engines = s3.objects[key], two.engines()
    s3.objects[key] = bytes([weights[0] ^ 1]) + weights[1:]
    with pytest.raises(ObjectsError, match="damaged"):
        engines.engine(f"version:{id}")
    assert (loads, fake.loaded) == ([], {})

    s3.objects[key] = weights
    fetched.clear()
    assert ask_at_once(engines, f"version:{id}") == [wanted] * AT_ONCE
    assert loads == [id]
    assert [path for path in fetched if WEIGHTS in path] == [f"/{key}"]
    lent = Path(fake.loaded[f"assay-{id}"])
    assert lent.is_relative_to(two.store.folder)
    assert (lent / WEIGHTS).read_bytes() == weights


def test_what_is_lent_to_vllm_outlives_the_server_that_lent_it_and_not_the_version(
    fake: FakeVllm, trained: tuple[Workspace, str], two: Workspace
) -> None:
    one, id = trained
    engines = two.engines()
    wanted = _text(engines.engine(f"version:{id}"))
    lent = Path(fake.loaded[f"assay-{id}"])
    weights = (lent / WEIGHTS).read_bytes()
    engines.close()
    del engines
    gc.collect()

    # It has left vLLM's memory, which reads it again from where it was; nobody lends it anew.
    fake.engines.clear()
    assert (lent / WEIGHTS).read_bytes() == weights
    assert _text(fake.engine(f"assay-{id}")) == wanted
    after = two.engines().engine(f"version:{id}")
    # It has been removed under a server that goes on, and vLLM has forgotten it.
    shutil.rmtree(two.store.folder / "cache")
    fake.restart()
    assert _text(after) == wanted
    # vLLM has forgotten it, and something has damaged what was lent before.
    fake.restart()
    (lent / WEIGHTS).chmod(0o600)
    (lent / WEIGHTS).unlink()
    (lent / WEIGHTS).write_bytes(b"?")
    assert _text(two.engines().engine(f"version:{id}")) == wanted
    assert fake.loaded == {f"assay-{id}": str(lent)}

    remove_version(one.store, id)  # by another server
    sweep_versions(two.store)
    assert not lent.exists()
