"""Answers of batches under way, at a server that has no folder of theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from tests.s3 import S3Server
from tests.store.test_objects import opened

from assay.jobs import batch_answers, batches, queue, shared_answers
from assay.jobs.left_batches import settle_left
from assay.store import archives, stored_files
from assay.store.store import Store
from assay.store.tables import BatchRow, now

PROJECT = "default"


@pytest.fixture
def stores(tmp_path: Path, s3: S3Server, database: str) -> list[Store]:
    """Two folders of one state."""
    return [opened(tmp_path / name, "s3://bkt/here", database) for name in ("one", "two")]


def begun(store: Store, lines: int) -> str:
    """A batch that was found good, which nobody has."""
    asked = b"".join(json.dumps({"custom_id": str(n)}).encode() + b"\n" for n in range(lines))
    file = stored_files.keep(store, PROJECT, [asked], "asked.jsonl", "batch")
    request = batches.BatchRequest(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    id = batches.create(store, PROJECT, request, "key", None)
    with store.session() as session:
        row = session.query(BatchRow).filter(BatchRow.id == id).one()
        row.begun, row.total = now(), lines
    return id


def answered(store: Store, id: str, number: int) -> Path:
    """A file with an answer to a line."""
    log = batch_answers.new_log(store, id)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(
        batch_answers.format_answer(
            number, str(number - 1), "req", 200, b'{"usage": {}}', good=True
        )
    )
    return log


def test_answers_are_had_by_the_others_and_count_at_the_end(
    s3: S3Server, stores: list[Store]
) -> None:
    one, two = stores
    id = begun(one, 4)
    whole, damaged = answered(one, id, 1), answered(one, id, 2)
    written = answered(one, id, 3)
    for _ in range(2):  # once each
        shared_answers.share(one, id, all_but=written)
        assert len(archives.rows_below(one, "work")) == 2
    key = next(key for key, data in s3.objects.items() if damaged.name.encode() in data)
    s3.objects[key] = s3.objects[key].replace(b'"custom_id"', b'"Custom_id"')
    shared_answers.bring(two, id)
    assert batch_answers.logs(two, id) == [two.folder / whole.relative_to(one.folder)]
    answered(two, id, 4)
    batches.stop(two, batches.read(two, id))
    assert batches.read(two, id).status == "cancelling"  # no request waits until they are fetched
    shared_answers.share(one, id, all_but=damaged)  # of a server that was taken for dead
    settle_left(two)
    batch = batches.read(two, id)
    assert (batch.outcome, batch.completed, batch.failed) == ("cancelled", 3, 0)
    assert archives.rows_below(two, "work") == []
    shared_answers.share(one, id, all_but=written)  # later still
    shared_answers.sweep(one)
    assert archives.rows_below(two, "work") == []
    assert not [key for key in s3.objects if "/archives/" in key]
    other = begun(one, 1)
    log = answered(one, other, 1)
    shared_answers.share(one, other, all_but=log.with_name("answers-next.jsonl"))
    shared_answers.sweep(two)
    assert len(archives.rows_below(two, "work")) == 1


def test_a_server_that_ends_at_once_what_it_takes_over_keeps_its_answers(
    s3: S3Server, stores: list[Store]
) -> None:
    one, two = stores
    id = begun(one, 2)
    answered(one, id, 1)
    shared_answers.share(one, id, all_but=answered(one, id, 2))
    job = queue.claim(two, "w", [batches.BATCH], id)
    assert job is not None
    batches.settle(two, id, "expired", unanswered=batches.EXPIRED, job=job)
    batch = batches.read(two, id)
    assert (batch.outcome, batch.completed) == ("expired", 1)


def test_two_calls_may_share_a_file_at_the_same_moment(
    s3: S3Server, stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that a server has given up, whose thread is still at work, and the next."""
    one, _ = stores
    id = begun(one, 2)
    answered(one, id, 1)
    written = answered(one, id, 2)
    forget = archives.forget

    def forgotten(session: Session, path: str) -> list[str]:  # looked before the other has ended
        monkeypatch.setattr(archives, "forget", forget)
        shared_answers.share(one, id, all_but=written)
        return []

    monkeypatch.setattr(archives, "forget", forgotten)
    shared_answers.share(one, id, all_but=written)
    [row] = archives.rows_below(one, "work")
    [key] = [key for key in s3.objects if "/archives/" in key]
    assert row.object in key
