"""A comparison in a bucket: what one server was told another one does not ask for again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.compare import comparison as comparing
from assay.compare import performance, shared_results
from assay.errors import ObjectsAwayError
from assay.evaluate import run as running
from assay.example import read_examples
from assay.generate.batch import Request
from assay.store import archives, shared_files
from assay.store.store import Store
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
    made = small_project(
        tmp_path, edit={"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    ).root
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
