"""A fine-tuning from its file to its name, and every way in which it can be refused or stopped."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.jobs.tiny_tuning import MODEL, PROJECT, done, lines, pairs, queued, upload
from tests.models.test_versions import RECORD, adapter
from tests.s3 import S3Server
from tests.store.test_objects import opened

from assay.data.read import read
from assay.errors import NotFoundError, StateError
from assay.jobs import fine_tuning, queue, tuning_work
from assay.jobs.events import read_events
from assay.jobs.fine_tuning import CHECK, work_folder
from assay.jobs.service import work_on
from assay.jobs.tuned_models import has_agent, has_other_name
from assay.jobs.worker import Work
from assay.models.lineage import rows_of
from assay.models.versions import list_versions, load_version, save_version
from assay.project.versions import find_uses_of
from assay.store import stored_files
from assay.store.store import Store
from assay.store.tables import AgentRow, FineTuningCheckpointRow, ServedNameRow

__all__ = ["adapter"]
pytestmark = pytest.mark.usefixtures("_tiny")


def told(store: Store, id: str) -> list[str]:
    return [event.message for event in read_events(store, id)]


def figures(store: Store, id: str) -> list[dict[str, Any]]:
    return [e.data for e in read_events(store, id) if e.kind == "metrics" and e.data]


@pytest.mark.slow
def test_a_file_becomes_a_model_with_a_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queued(store, suffix="my colours!", metadata={"team": "paint"})
    assert fine_tuning.find(store, PROJECT, id).status == "validating_files"
    tuning = done(store, id)
    assert tuning.status == "succeeded", tuning.error
    assert tuning.result is not None
    name = tuning.result["model"]
    assert name.startswith(f"ft:{MODEL}:default:my-colours:")
    with store.session() as session:
        row = session.get(ServedNameRow, name)
    assert row is not None
    assert (row.project, row.target) == (PROJECT, f"version:{tuning.result['version']}")
    version = load_version(store, tuning.result["version"])
    assert version.record.base == MODEL
    assert {one.owner for one in list_versions(store)} == {PROJECT}
    assert version.record.settings["compute"] in ("float32", "bfloat16")
    assert tuning.chosen is not None
    assert (tuning.chosen["n_epochs"], tuning.chosen["batch_size"]) == (4, 3)
    assert tuning.result["trained_tokens"] > 0

    listed, more = fine_tuning.checkpoints(store, PROJECT, id)
    assert [c.step for c in listed] == [16, 12, 8]  # 11 rows to train on, 3 a step, 4 epochs
    assert not more
    assert listed[0].name == f"{name}:ckpt-step-16"
    assert set(listed[0].metrics) == {
        "step",
        "train_loss",
        "train_mean_token_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
        "full_valid_loss",
        "full_valid_mean_token_accuracy",
    }
    assert 0 <= listed[0].metrics["full_valid_mean_token_accuracy"] <= 1
    for checkpoint in listed:
        assert load_version(store, checkpoint.version)
    kept = {checkpoint.version for checkpoint in listed} | {version.id}
    assert {v.id for v in list_versions(store)} == kept  # the first epoch's is gone

    file = stored_files.find(store, PROJECT, tuning.result["result_file"])
    assert file.purpose == "fine-tune-results"
    text = stored_files.path_of(store, file.id).read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["step"]) for row in rows] == list(range(1, 17))
    assert all(float(row["train_loss"]) > 0 and row["train_accuracy"] for row in rows)
    assert [row["step"] for row in rows if row["full_valid_loss"]] == ["4", "8", "12", "16"]
    assert text.startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy")

    assert [(d["step"], "train_loss" in d) for d in figures(store, id)] == [
        (step, kind) for step in range(1, 17) for kind in ((True, False), (True,))[step % 4 != 0]
    ]
    assert any("3 of 14 examples are held back" in line for line in told(store, id))
    assert told(store, id)[-2:] == ["The job has successfully completed", "Done."]


@pytest.mark.slow
def test_its_versions_know_their_rows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tuning = done(store, queued(store, hyperparameters={"n_epochs": 2, "batch_size": 4}))
    assert tuning.result is not None
    file = tmp_path / "rows.jsonl"
    file.write_bytes(lines())
    rows = [row.example.content_hash() for row in read(file) if row.example]
    saved = list_versions(store)
    assert len(rows) == 14
    for version in saved:
        kept = {part: rows_of(store, data) for part, data in version.record.data.items()}
        assert {part: len(of) for part, of in kept.items() if of} == {"train": 11, "validation": 3}
        assert sorted(row for of in kept.values() for row in of or ()) == sorted(rows)
    for row in rows:
        found = find_uses_of(store, [], row[:12])
        assert {one["id"] for one in found["versions"]} == {version.id for version in saved}
        assert found["unknown"] == []


@pytest.mark.slow
def test_the_same_training_twice_is_one_version_under_two_names(tmp_path: Path) -> None:
    store = Store(tmp_path)
    once = {"n_epochs": 1, "batch_size": 4}
    first, second = (done(store, queued(store, hyperparameters=once)) for _ in range(2))
    assert first.result is not None
    assert second.result is not None
    assert first.result["version"] == second.result["version"]
    assert first.result["model"] != second.result["model"]


def test_a_version_that_has_another_name_or_an_agent_is_not_forgotten(tmp_path: Path) -> None:
    version = "1" * 64
    with Store(tmp_path).session() as session:
        session.add(ServedNameRow(name="ft:mine", project=PROJECT, target=f"version:{version}"))
        session.flush()
        assert not has_other_name(session, version, "ft:mine")
        assert has_other_name(session, version, "ft:another")
        assert not has_agent(session, version)
        session.add(AgentRow(id="a", body=f'{{"model": "version:{version}"}}'))
        session.flush()
        assert has_agent(session, version)


def test_old_checkpoints_are_forgotten_where_versions_are_in_a_bucket(
    s3: S3Server, tmp_path: Path, adapter: Path
) -> None:
    store = opened(tmp_path / "state", "s3://bkt")
    id = queued(store)
    job = queue.claim(store, "w", [CHECK])
    assert job is not None
    saved = []
    for step in range(5):
        version = save_version(store, adapter, RECORD.model_copy(update={"seed": step}))
        saved.append(version)
        name, target = f"ft:{step}", f"version:{version}"
        with store.session() as session:
            session.add(ServedNameRow(name=name, project=PROJECT, target=target))
            session.add(
                FineTuningCheckpointRow(
                    id=name, job=id, step=step, name=name, version=version, metrics={}
                )
            )
    with store.session() as session:  # the first has another name
        session.add(ServedNameRow(name="other", project=PROJECT, target=f"version:{saved[0]}"))
    tuning_work._forget_old_checkpoints(Work(store, job, 1.0), id)
    assert {version.id for version in list_versions(store)} == {saved[0], *saved[2:]}
    listed, _ = fine_tuning.checkpoints(store, PROJECT, id)
    assert [checkpoint.step for checkpoint in listed] == [4, 3, 2]
    with store.session() as session:
        assert set(session.scalars(select(ServedNameRow.name))) == {"other", "ft:2", "ft:3", "ft:4"}


@pytest.mark.slow
def test_pairs_are_learned_with_dpo(tmp_path: Path) -> None:
    store = Store(tmp_path)
    given = {"n_epochs": 1, "beta": 0.5, "learning_rate_multiplier": 2}
    id = queued(
        store,
        pairs(),
        hyperparameters=None,
        method={"type": "dpo", "dpo": {"hyperparameters": given}},
        validation_file=upload(store, pairs(3)),
    )
    tuning = done(store, id)
    assert tuning.status == "succeeded", tuning.error
    assert tuning.chosen is not None
    assert tuning.chosen["settings"]["method"] == "dpo"
    assert (tuning.chosen["beta"], tuning.chosen["learning_rate_multiplier"]) == (0.5, 2)
    assert tuning.chosen["settings"]["learning_rate"] == pytest.approx(2 * 1e-3 / 20)
    assert "train_mean_token_accuracy" not in figures(store, id)[0]
    assert not any("held back" in line for line in told(store, id))


def bad(**changes: str) -> bytes:
    """Good rows, but for the third and the fifth."""
    rows = lines(12).splitlines()
    rows[2] = changes.get("third", "{oh").encode()
    rows[4] = json.dumps({"messages": [{"role": "user", "content": "no answer"}]}).encode()
    return b"\n".join(rows)


def test_bad_lines_are_named_by_their_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tuning = done(store, queued(store, bad()))
    assert tuning.status == "failed"
    assert tuning.error is not None
    assert (tuning.error["code"], tuning.error["param"]) == (
        "invalid_training_file",
        "training_file",
    )
    assert "Line 3: " in tuning.error["message"]
    assert "Line 5: " in tuning.error["message"]
    assert str(tmp_path) not in tuning.error["message"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lines(9), "It has 9 examples, but must have at least 10."),
        (b"", "only white space"),
        (b"PK\x03\x04", "Line 1"),
        (pairs(), "Line 1: "),
        (lines(12).replace(b"red", b"  "), "no answer to learn"),
        (lines(12).replace(b"ball 4", b"ball " * 300), "Line 5: "),
    ],
)
def test_a_file_of_no_use_is_refused_with_a_sentence(
    tmp_path: Path, data: bytes, says: str
) -> None:
    store = Store(tmp_path)
    id = queued(store, data or b"\n")
    tuning = done(store, id)
    assert tuning.error is not None
    assert tuning.error["code"] == "invalid_training_file"
    assert says in tuning.error["message"]
    assert not work_folder(store, id).exists()


def test_the_validation_file_is_looked_at_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tuning = done(store, queued(store, validation_file=upload(store, bad())))
    assert tuning.error is not None
    assert (tuning.error["code"], tuning.error["param"]) == (
        "invalid_validation_file",
        "validation_file",
    )


def test_a_file_that_is_deleted_before_it_was_looked_at_is_missed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queued(store)
    stored_files.remove(store, PROJECT, fine_tuning.find(store, PROJECT, id).request.training_file)
    tuning = done(store, id)
    assert tuning.error is not None
    assert tuning.error["code"] == "file_not_found"


@pytest.mark.slow
def test_a_file_may_be_deleted_once_it_was_looked_at(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queued(store, hyperparameters={"n_epochs": 1})
    work_on(store, [CHECK]).once()
    stored_files.remove(store, PROJECT, fine_tuning.find(store, PROJECT, id).request.training_file)
    assert fine_tuning.find(store, PROJECT, id).status == "queued"
    assert done(store, id).status == "succeeded"


def checked_and_restored(store: Store) -> str:
    """A fine-tuning whose files were looked at, after a restore, which leaves `work` out."""
    id = queued(store, hyperparameters={"n_epochs": 1})
    work_on(store, [CHECK]).once()
    shutil.rmtree(work_folder(store, id))
    return id


@pytest.mark.slow
def test_it_begins_again_after_a_restore(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert done(store, checked_and_restored(store)).status == "succeeded"


def test_a_file_that_is_gone_after_a_restore_is_missed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = checked_and_restored(store)
    stored_files.remove(store, PROJECT, fine_tuning.find(store, PROJECT, id).request.training_file)
    tuning = done(store, id)
    assert tuning.error is not None
    assert tuning.error["code"] == "file_not_found"


def test_what_waits_is_cancelled_at_once_and_stays_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queued(store)
    assert fine_tuning.ask(store, PROJECT, id, "cancel").status == "cancelled"
    with pytest.raises(StateError, match="over"):
        fine_tuning.ask(store, PROJECT, id, "cancel")
    with pytest.raises(StateError, match="not paused"):
        fine_tuning.ask(store, PROJECT, id, "resume")
    assert done(store, id).status == "cancelled"


def test_what_was_asked_to_be_cancelled_never_succeeds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queued(store)
    job = queue.claim(store, "w", [CHECK])
    assert job is not None
    assert fine_tuning.ask(store, PROJECT, id, "cancel").status == "cancelled"
    name = ServedNameRow(name="ft:x", project=PROJECT, target="version:1")
    queue.finish(store, job, {"model": "m"}, [name])
    assert fine_tuning.find(store, PROJECT, id).status == "cancelled"
    with store.session() as session:
        assert session.get(ServedNameRow, "ft:x") is None


def test_what_waits_can_be_paused_and_resumed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queued(store)
    assert fine_tuning.ask(store, PROJECT, id, "pause").status == "paused"
    with pytest.raises(StateError, match="already paused"):
        fine_tuning.ask(store, PROJECT, id, "pause")
    assert done(store, id).status == "paused"
    assert fine_tuning.ask(store, PROJECT, id, "resume").status == "validating_files"


def test_others_see_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queued(store)
    for look in (fine_tuning.find, fine_tuning.events, fine_tuning.checkpoints):
        with pytest.raises(NotFoundError):
            look(store, "other", id)
    assert fine_tuning.tunings(store, "other") == ([], False)


def test_pages_go_from_the_newest_to_the_oldest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ids = [queued(store, metadata={"n": str(n % 2)} if n else None) for n in range(5)][::-1]
    first, more = fine_tuning.tunings(store, PROJECT, limit=3)
    assert ([t.id for t in first], more) == (ids[:3], True)
    rest, more = fine_tuning.tunings(store, PROJECT, after=first[-1].id, limit=3)
    assert ([t.id for t in rest], more) == (ids[3:], False)
    odd, _ = fine_tuning.tunings(store, PROJECT, metadata={"n": "1"})
    assert [t.id for t in odd] == [ids[1], ids[3]]
    assert [t.id for t in fine_tuning.tunings(store, PROJECT, metadata={})[0]] == [ids[-1]]
    events, more = fine_tuning.events(store, PROJECT, ids[0], limit=1)
    assert [e.message for e in events] == ["Queued."]
    assert not more
