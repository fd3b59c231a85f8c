"""A comparison in a bucket: what one server was told another one does not ask for again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from assay.compare import comparison as comparing
from assay.compare import performance, records, shared_results
from assay.errors import ObjectsAwayError, ObjectsError
from assay.evaluate import run as running
from assay.example import read_examples
from assay.generate.batch import Request
from assay.store import archives, shared_files
from assay.store.store import Store
from tests.compare.sample import sample_result, sample_rows
from tests.evaluate.scripted import ScriptedEngine
from tests.evaluate.test_run import REQUESTS
from tests.project.test_shared_split import BUCKET, server
from tests.s3 import S3Server
from tests.small import small_project
from tests.store.test_objects import opened


def answered(store: Store, engine: ScriptedEngine) -> list[str]:
    found = running.run(
        REQUESTS,
        engine,
        agent_id="a",
        folder=store.folder / "runs",
        store=store,
        batch_size=2,
        sleep=lambda _: None,
    )
    return [answer.text for answer in found]


class Killed(ScriptedEngine):
    """Dies at its second batch."""

    def answer(self, requests: Any, *rest: Any) -> Any:
        if self.calls:
            raise KeyboardInterrupt
        return super().answer(requests, *rest)


def test_a_run_goes_on_at_another_server(s3: S3Server, tmp_path: Path, empty_postgres: str) -> None:
    one, two = (opened(tmp_path / name, BUCKET, empty_postgres) for name in ("one", "two"))
    whole = answered(Store(tmp_path / "alone"), ScriptedEngine())
    with pytest.raises(KeyboardInterrupt):
        answered(one, Killed())
    engine = ScriptedEngine()
    assert answered(two, engine) == whole
    assert sum(map(len, engine.calls)) == len(REQUESTS) - 2
    again = ScriptedEngine()
    assert answered(one, again) == whole
    assert again.calls == []


def test_a_run_of_before_moves_there_and_back(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Store(tmp_path / "one").folder
    with pytest.raises(KeyboardInterrupt):
        answered(Store(folder), Killed())
    store = opened(folder, BUCKET)
    shared_results.sweep(store)
    assert archives.rows_below(store) == []  # it may still be going on
    monkeypatch.setattr(shared_results, "SETTLED_S", 0)
    shared_results.sweep(store)
    [batch] = folder.glob("runs/*/*.json")
    kept = batch.read_bytes()
    batch.unlink()
    s3.before = lambda method, path: 503 if "/archives/" in path else None
    with pytest.raises(ObjectsAwayError, match="answers of this run is in the bucket, which"):
        answered(store, ScriptedEngine())
    s3.before = lambda method, path: None
    assert shared_files.copy_to_folder(store, archives.rows_below(store)) == []
    assert batch.read_bytes() == kept


def test_a_comparison_goes_on_elsewhere_and_its_report_is_shown_anywhere(
    s3: S3Server, tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_OBJECTS", BUCKET)
    edit = {"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    made = small_project(tmp_path, edit=edit, tiny_embedder=True).root
    one = server(made, tmp_path / "one", empty_postgres)
    two = server(made, tmp_path / "two", empty_postgres, data=False)

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(comparing, "open_holdout", killed)
        with pytest.raises(KeyboardInterrupt):
            one.compare()
    asked: list[Request] = []
    ask = running._try
    monkeypatch.setattr(running, "_try", lambda e, r: (asked.extend(r), ask(e, r))[1])
    monkeypatch.setattr(performance, "measure_latency", killed)  # it was measured there
    ended = two.compare()
    holdout = {row.prompt[-1].content for row in read_examples(two.split_folder / "holdout.jsonl")}
    texts = [request.messages[-1].content for request in asked]
    assert texts
    assert all(any(one in text for one in holdout) for text in texts)
    asked.clear()
    again = one.compare()
    assert (asked, again.result) == ([], ended.result)
    assert len(one.openings()) == 1
    id = ended.result.comparison
    here, there = (shared_results.folder_of(store, id) for store in (one.store, two.store))
    assert here != there
    for name in ("result.json", "answers.jsonl.gz", "plan.json"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert (here / "report.html").exists()


@pytest.fixture
def servers(s3: S3Server, tmp_path: Path) -> tuple[Store, Store]:
    url = f"sqlite:///{tmp_path / 'assay.db'}"
    one, two = (opened(tmp_path / name, BUCKET, url) for name in ("one", "two"))
    return one, two


def written(store: Store, path: str, text: str) -> Path:
    file = store.folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_result_that_takes_the_place_of_one_is_not_lost_with_its_server(
    servers: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = servers
    result, rows = sample_result(60), sample_rows(60)
    id = result.comparison
    folder = shared_results.folder_of(one, id)
    records.save_plan(one, id, "d" * 64, result.plan, folder)
    partial = result.model_copy(update={"warnings": ["an answer is missing"]})
    records.save_result(one, partial, rows, folder)
    shared_results.folder_of(two, id)

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(archives, "pack", killed)
        with pytest.raises(KeyboardInterrupt):
            records.save_result(one, result, rows, folder)
    assert records.load_result(two, id) == partial  # so it is concluded again
    records.save_result(two, result, rows, shared_results.folder_of(two, id))
    for store in servers:
        file = shared_results.folder_of(store, id) / records.RESULT_FILE
        assert type(result).model_validate_json(file.read_bytes()) == result


def test_two_readers_at_once_do_not_take_it_from_each_other(servers: tuple[Store, Store]) -> None:
    one, two = servers
    for number in range(8):
        path = f"comparisons/{number}"
        for name in ("a", "b", "c"):
            written(one, f"{path}/{name}", name * 1000)
        shared_files.share(one, path)

    def read(number: int) -> bool:
        path = f"comparisons/{number // 4}"
        shared_files.bring(two, path, "it")
        return (two.folder / path / "a").exists()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(32)))
    assert len(list((two.folder / "comparisons").iterdir())) == 8  # none was put aside


def test_what_two_servers_share_at_once_ends_neither_of_them(
    servers: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = servers
    path = "speeds/k/performance/x.json"
    mine, others = written(one, path, "1"), written(two, path, "2")
    pack = archives.pack

    def slow(store: Store, files: Any) -> Any:
        packed = pack(store, files)
        monkeypatch.setattr(archives, "pack", pack)
        shared_files.share(two, path)
        return packed

    monkeypatch.setattr(archives, "pack", slow)
    shared_files.share(one, path)
    shared_files.bring(two, path, "it")
    assert (mine.read_text(), others.read_text()) == ("1", "1")


def test_what_is_gone_is_named_and_what_is_damaged_ends_the_move(
    servers: tuple[Store, Store], s3: S3Server
) -> None:
    one, two = servers
    path = "curves/x.json"
    written(one, path, "1")
    shared_files.share(one, path)
    [key] = s3.keys("bkt/archives/")
    s3.objects[key] = s3.objects[key][:-1] + b"?"
    with pytest.raises(ObjectsError, match="was changed or damaged"):
        shared_files.copy_to_folder(two, archives.rows_below(two))
    del s3.objects[key]
    assert shared_files.copy_to_folder(two, archives.rows_below(two)) == [path]
