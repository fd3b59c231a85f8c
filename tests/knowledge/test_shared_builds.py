"""Knowledge bases in a bucket: one server makes a build, all answer from it, or from the last."""

from __future__ import annotations

import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
from tests.knowledge.wordy import Wordy
from tests.preloaded import run_code
from tests.s3 import S3Server
from tests.store.test_objects import grow_old, opened, unnamed

from assay.errors import ObjectsAwayError, ObjectsError, StateError
from assay.knowledge import build_transfer, pins, records
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.build import Builder
from assay.knowledge.fixed_base import FixedBase
from assay.knowledge.settings import KnowledgeSettings
from assay.knowledge.table import FOLDER, IndexBrokenError
from assay.progress import SILENT
from assay.store import unnamed_objects
from assay.store.object_place import last_bucket
from assay.store.object_transfer import ObjectsMove, move_objects
from assay.store.store import Store

BUCKET = "s3://bkt"
TEA = "How long is green tea steeped?"


def manuals(store: Store, encoder: Wordy | None = None) -> KnowledgeBase:
    used = encoder or Wordy()
    return KnowledgeBase(store, "shop", "manuals", embedders=lambda _: used)


def answers(base: KnowledgeBase) -> list[str]:
    return [passage.text for passage in base.search([TEA], k=3)[0]]


def files(store: Store) -> dict[str, bytes]:
    root = store.folder / FOLDER
    found = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.fixture
def servers(s3: S3Server, tmp_path: Path, empty_postgres: str) -> list[Store]:
    return [opened(tmp_path / name, BUCKET, empty_postgres) for name in ("one", "two")]


@pytest.fixture
def store(s3: S3Server, tmp_path: Path) -> Store:
    return opened(tmp_path / "one", BUCKET)


def test_what_one_server_indexes_another_answers_from(
    servers: list[Store], docs: Path, s3: S3Server
) -> None:
    encoder = Wordy()
    one, two = manuals(servers[0]), manuals(servers[1], encoder)
    one.add([docs])
    assert (len(answers(two)), answers(two)) == (3, answers(one))
    assert files(servers[0]) == files(servers[1])
    (docs / "new.txt").write_text("Black tea is steeped for four minutes.")
    encoder.embedded.clear()
    assert two.add([docs / "new.txt"]).documents == 1
    assert encoder.embedded == ["new\nBlack tea is steeped for four minutes."]
    assert one.search(["black tea"], k=1)[0][0].text == "Black tea is steeped for four minutes."
    assert two.pages(str(docs / "hours.txt")) == one.pages(str(docs / "hours.txt"))
    shutil.rmtree(servers[1].folder / FOLDER)
    two.rebuild(KnowledgeSettings(chunk_tokens=300))
    assert two.check().damage == ()
    assert one.check().damage == ()
    assert len(s3.keys("bkt/archives/")) == 3  # each state that is kept is one object


def test_what_one_server_erases_is_gone_from_the_bucket_and_from_the_others(
    servers: list[Store], docs: Path, s3: S3Server
) -> None:
    one, two = manuals(servers[0]), manuals(servers[1])
    one.add([docs])
    answers(two)
    one.remove([str(docs / "sub" / "tea.txt")])
    assert len(s3.keys("bkt/archives/")) == 1
    build_transfer.sweep(servers[1])
    left = files(servers[1])  # the texts of documents that are still there
    assert [name.split("/")[1] for name in left] == ["texts"] * 2
    assert b"tea" not in b"".join(left.values())
    assert len(answers(two)) == 2
    one.delete()
    assert s3.keys("bkt/archives/") == []
    build_transfer.sweep(servers[1])
    assert list((servers[1].folder / FOLDER).glob("*")) == []
    assert unnamed(servers[0]) == {}


def test_a_pinned_state_outlives_removal_and_rebuild_on_every_server(
    servers: list[Store], docs: Path, s3: S3Server
) -> None:
    one = manuals(servers[0])
    one.add([docs])
    before, [archive] = answers(one), s3.keys("bkt/archives/")
    fixed = [
        FixedBase(store, "shop", "manuals", "pin", embedders=lambda _: Wordy()) for store in servers
    ]
    fixed[0].keep()
    fixed[0].fix([])
    assert s3.keys("bkt/archives/") == [archive]
    one.rebuild(one.settings)  # the same state in another table
    one.remove([str(docs / "sub" / "tea.txt")])
    assert [answers(base) for base in fixed] == [before, before]
    assert archive in s3.keys("bkt/archives/")
    pins.unpin(servers[1], "pin")
    assert archive not in s3.keys("bkt/archives/")
    for store in servers:
        build_transfer.sweep(store)
        assert b"tea" not in b"".join(files(store).values())
    assert unnamed(servers[0]) == {}


def test_a_change_that_another_machine_made_meanwhile_is_not_lost(
    servers: list[Store], docs: Path
) -> None:
    """A lock of the database ends with its connection, also where its holder goes on."""
    one, two = servers
    manuals(one).add([docs / "hours.txt"])
    base = records.base_id(one, "shop", "manuals")
    late = Builder(one, base, records.present(one, base))
    manuals(two).add([docs / "refunds.md"])
    with pytest.raises(StateError, match="was changed by another process meanwhile"):
        late.build((), KnowledgeSettings(), lambda _: Wordy(), SILENT)
    assert len(manuals(one).documents()) == 2


def test_a_base_that_is_deleted_meanwhile_does_not_end_the_sweep(
    store: Store, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manuals(store).add([docs])
    build_transfer.sweep(store)
    left = store.folder / FOLDER / "left"
    left.mkdir()
    known = ["gone", *records.base_ids(store)]
    monkeypatch.setattr(records, "base_ids", lambda _: known)
    build_transfer.sweep(store)
    assert not left.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from assay.knowledge import build, records
from assay.store import archives
from assay.store.object_place import objects_of
from assay.store.store import Store
from tests.knowledge.test_shared_builds import BUCKET, manuals

folder, document, step = sys.argv[1:]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(function):
    def dying(*given, **named):
        function(*given, **named)
        die()
    return dying

store = Store(Path(folder))
store.bucket = BUCKET
objects = objects_of(store)
if step == "indexed":
    build.index = after(build.index)
if step == "announced":
    objects.create = die
if step == "created":
    objects.create = after(objects.create)
if step == "named":
    archives.name = after(archives.name)
if step == "swapped":
    records.swap = after(records.swap)
manuals(store).add([Path(document)])
"""


@pytest.mark.parametrize("step", ["indexed", "announced", "created", "named", "swapped"])
def test_a_kill_while_indexing_leaves_the_state_before_or_after(
    store: Store, docs: Path, tmp_path: Path, s3: S3Server, step: str
) -> None:
    manuals(store).add([docs / "sub" / "tea.txt"])
    before = answers(manuals(store))
    given, output = (str(store.folder), str(docs / "hours.txt"), step), tmp_path / "output"
    killed = run_code(KILLED, *given, output=output)
    assert killed.wait(120) == -signal.SIGKILL, output.read_text()
    elsewhere = tmp_path / "elsewhere"  # a server that has the rows, and nothing else
    elsewhere.mkdir()
    for name in ("assay.db", "assay.db-wal"):
        shutil.copy(store.folder / name, elsewhere)
    found = answers(manuals(opened(elsewhere, BUCKET)))
    assert len(found) == (2 if step == "swapped" else 1)
    assert found[:1] == before
    again = manuals(store)
    again.add([docs / "hours.txt"])
    assert len(answers(again)) == 2
    grow_old(store)
    unnamed_objects.collect(store)
    assert (unnamed(store), len(s3.keys("bkt/archives/"))) == ({}, 2)


def test_what_is_damaged_or_out_of_reach_is_said(store: Store, docs: Path, s3: S3Server) -> None:
    manuals(store).add([docs])
    whole = answers(manuals(store))
    for data in (store.folder / FOLDER).rglob("data/*.lance"):
        data.write_bytes(b"?" * data.stat().st_size)
    assert answers(manuals(store)) == whole  # fetched again
    shutil.rmtree(store.folder / FOLDER)
    s3.before = lambda method, path: 503 if "/archives/" in path else None
    with pytest.raises(ObjectsAwayError, match="not on this server yet"):
        manuals(store).search([TEA], k=1)
    s3.before = lambda method, path: None
    [key] = s3.keys("bkt/archives/")
    data = s3.objects[key]
    s3.objects[key] = data[:-1] + b"?"
    with pytest.raises(ObjectsError, match="was changed or damaged"):
        manuals(store).search([TEA], k=1)
    del s3.objects[key]
    with pytest.raises(IndexBrokenError, match="neither on this server nor in the bucket"):
        manuals(store).search([TEA], k=1)
    s3.objects[key] = data
    assert answers(manuals(store)) == whole


def test_what_is_lost_in_part_can_be_changed_and_mended(
    s3: S3Server, tmp_path: Path, docs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, tea = Store(tmp_path / "one").folder, str(docs / "sub" / "tea.txt")
    manuals(Store(folder)).add([docs])
    [text] = [path for path in folder.rglob("texts/*") if b"Green tea" in path.read_bytes()]
    text.unlink()
    store = opened(folder, BUCKET)
    build_transfer.sweep(store)
    assert "the knowledge base manuals stays in the folder" in caplog.text
    assert f"the text of {tea} is missing" in str(manuals(store).check().damage)
    (docs / "new.txt").write_text("Black tea is steeped for four minutes.")
    with pytest.raises(IndexBrokenError, match="the text of a document is missing"):
        manuals(store).add([docs / "new.txt"])
    manuals(store).remove([tea])
    assert manuals(store).check().damage == ()
    whole = answers(manuals(store))
    shutil.rmtree(folder / FOLDER)
    for key in s3.keys("bkt/archives/"):
        del s3.objects[key]
    added = manuals(store).add([docs / "hours.txt", docs / "refunds.md"])
    assert (added.unchanged, answers(manuals(store))) == (2, whole)
    assert manuals(store).check().damage == ()


def test_a_query_that_is_no_text_leaves_the_index_where_it_is(store: Store, docs: Path) -> None:
    base = manuals(store)
    base.add([docs])
    made = {path: path.stat().st_ino for path in (store.folder / FOLDER).rglob("data/*")}
    found = base.search(["green tea \ud800"], k=1, mode="bm25")
    assert "tea" in found[0][0].text
    with pytest.raises(IndexBrokenError):
        base.search(["tea"], k=1, mode="bm25", labels=frozenset(["\ud800"]))
    assert {path: path.stat().st_ino for path in made} == made


def move(folder: Path, bucket: str | None) -> ObjectsMove | None:
    """As `assay state move` does."""
    store, source = opened(folder, bucket), opened(folder, None)
    source.bucket = last_bucket(source)
    moved = move_objects(store, SILENT, partial(build_transfer.copy_to_folder, source, SILENT))
    build_transfer.sweep(store)
    return moved


def test_it_moves_to_a_bucket_to_another_one_and_back(
    s3: S3Server, tmp_path: Path, docs: Path
) -> None:
    folder = Store(tmp_path / "one").folder
    manuals(Store(folder)).add([docs / "hours.txt"])
    manuals(Store(folder)).add([docs])
    made, whole = files(Store(folder)), answers(manuals(Store(folder)))
    for bucket in ("s3://one", "s3://two/below"):
        move(folder, bucket)
        assert len(s3.keys(f"{bucket[5:]}/archives/")) == 2  # with the state that is kept
        shutil.rmtree(folder / FOLDER)
        assert answers(manuals(opened(folder, bucket))) == whole
    with pytest.raises(ObjectsError, match="no setting names it any more"):
        manuals(Store(folder)).remove([str(docs / "hours.txt")])
    for path in (folder / FOLDER).rglob("*.txn"):  # a copy that is not whole
        path.unlink()
    moved = move(folder, None)
    assert moved is not None
    assert moved.missing == ()
    assert files(Store(folder)) == made
    assert answers(manuals(Store(folder))) == whole
