"""Traces are kept only where wanted, without personal data, not for ever, each in its project."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update
from tests.release.shelf import PROJECT, shelf

from assay.errors import UsageError
from assay.example import Message, ToolCall
from assay.release import changes, policies, traces
from assay.release.releases import ReleaseError
from assay.release.traces import MOST_BYTES, PRUNE_EVERY, NoTraceError, is_sampled
from assay.store.store import Store
from assay.store.tables import TraceRow, now

NAME = "tickets"
ASKED = (Message("user", "Where is my card?"),)
ANSWER = Message("assistant", "card_arrival")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made, _ = shelf(tmp_path)
    changes.promote(made, PROJECT, NAME, "tuned@1", who="ann", force="a test")
    return made


def keep(store: Store, id: str = "trace-1", **fields: object) -> bool:
    given = {"messages": ASKED, "answer": ANSWER} | fields
    return traces.record(store, PROJECT, NAME, "a" * 64, id=id, **given)  # type: ignore[arg-type]


def on(store: Store, **limits: float) -> policies.Policy:
    return policies.switch_on(store, PROJECT, NAME, who="ann", **limits)  # type: ignore[arg-type]


def test_nothing_is_kept_unless_switched_on(store: Store) -> None:
    assert not keep(store)
    assert traces.traces(store, PROJECT) == []
    on(store)
    assert keep(store)
    assert not keep(store)  # once
    (found,) = traces.traces(store, PROJECT)
    assert found.messages == [{"role": "user", "content": "Where is my card?"}]
    assert found.answer["content"] == "card_arrival"
    assert policies.switch_off(store, PROJECT, NAME, who="ann") == 0
    assert not keep(store, "trace-2")
    assert len(traces.traces(store, PROJECT)) == 1
    assert policies.switch_off(store, PROJECT, NAME, who="ann", delete_kept=True) == 1
    assert traces.traces(store, PROJECT) == []
    with pytest.raises(ReleaseError):
        policies.switch_on(store, PROJECT, "other", who="ann")
    for wrong in ({"sample": 1.5}, {"days": 0}, {"most": 0}, {"days": 99999}):
        with pytest.raises(UsageError):
            on(store, **wrong)


def test_personal_data_never_reaches_the_disk(store: Store, tmp_path: Path) -> None:
    on(store)
    secrets = (
        "ann.smith@posteo.de",
        "4111 1111 1111 1111",
        "+49 30 901820",
        "DE89370400440532013000",
    )
    asked = [
        Message("system", f"Call {secrets[2]}."),
        Message("user", f"I am {secrets[0]}, my card is {secrets[1]}."),
        Message(
            "assistant", "", tool_calls=(ToolCall("c1", "pay", f'{{"iban": "{secrets[3]}"}}'),)
        ),
        Message("tool", f"paid by {secrets[0]}", tool_call_id="c1"),
    ]
    tools = [{"type": "function", "function": {"name": "pay", "description": secrets[0]}}]
    assert keep(
        store, messages=asked, answer=Message("assistant", f"Done, {secrets[0]}"), tools=tools
    )
    found = traces.feedback(store, PROJECT, "trace-1", corrected=f"Write to {secrets[0]}.")
    assert found.masked == 7
    assert found.corrected == "Write to <e-mail address>."
    assert found.messages[1]["content"] == "I am <e-mail address>, my card is <card number>."
    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = (tmp_path / "assay.db").read_bytes()
    assert b"trace-1" in raw
    for secret in secrets:
        assert secret.encode() not in raw


def test_what_is_too_long_is_not_kept(store: Store) -> None:
    on(store)
    assert not keep(store, answer=Message("assistant", "x" * MOST_BYTES))
    assert keep(store, answer=Message("assistant", "x" * (MOST_BYTES // 2)))
    with pytest.raises(UsageError, match="longer"):
        traces.feedback(store, PROJECT, "trace-1", corrected="x" * (MOST_BYTES + 1))


def test_the_old_and_the_many_are_deleted(store: Store) -> None:
    on(store, days=7, most=10)
    for n in range(2 * PRUNE_EVERY):
        keep(store, f"trace-{n}")
    with store.session() as session:
        assert session.query(TraceRow).count() <= 10  # no reader was needed
        old = now() - timedelta(days=8)
        session.execute(update(TraceRow).where(TraceRow.id == "trace-120").values(at=old))
    found = traces.traces(store, PROJECT, NAME)
    assert [t.id for t in found] == [f"trace-{n}" for n in range(127, 117, -1) if n != 120]
    with pytest.raises(NoTraceError):
        traces.trace(store, PROJECT, "trace-120")
    # Switched off, those that were kept still run out of time.
    policies.switch_off(store, PROJECT, NAME, who="ann")
    with store.session() as session:
        session.execute(update(TraceRow).where(TraceRow.id == "trace-121").values(at=old))
    assert "trace-121" not in {t.id for t in traces.traces(store, PROJECT)}


def test_no_release_escapes_by_the_keys_it_happens_to_get(store: Store) -> None:
    on(store, most=10)
    changes.promote(store, "other", NAME, "tuned@1", who="ann", force="a test")
    policies.switch_on(store, "other", NAME, who="ann")
    for n in range(PRUNE_EVERY):  # every second key is the other project's, the 64th too
        keep(store, f"trace-a{n}")
        other = {"id": f"trace-b{n}", "messages": ASKED, "answer": ANSWER}
        traces.record(store, "other", NAME, "a" * 64, **other)  # type: ignore[arg-type]
    with store.session() as session:
        assert session.query(TraceRow).where(TraceRow.project == PROJECT).count() <= 10


def test_feedback_attaches_and_the_last_word_counts(store: Store) -> None:
    on(store)
    keep(store)
    traces.feedback(store, PROJECT, "trace-1", thumb="down")
    found = traces.feedback(store, PROJECT, "trace-1", corrected="lost_card")
    assert (found.thumb, found.corrected) == ("down", "lost_card")
    found = traces.feedback(store, PROJECT, "trace-1", thumb="up", corrected="card_arrival")
    assert (found.thumb, found.corrected) == ("up", "card_arrival")
    assert [t.id for t in traces.traces(store, PROJECT, corrected=True)] == ["trace-1"]
    found = traces.feedback(store, PROJECT, "trace-1", thumb="up")
    assert (found.thumb, found.corrected) == ("up", None)  # good as it was, after all
    for wrong in ({}, {"corrected": " "}, {"thumb": "sideways"}):
        with pytest.raises(UsageError):
            traces.feedback(store, PROJECT, "trace-1", **wrong)  # type: ignore[arg-type]


def test_another_project_sees_nothing(store: Store) -> None:
    on(store)
    keep(store)
    assert traces.traces(store, "other") == []
    for look in (traces.trace, lambda s, p, i: traces.feedback(s, p, i, thumb="up")):
        with pytest.raises(NoTraceError):
            look(store, "other", "trace-1")
        with pytest.raises(NoTraceError):
            look(store, PROJECT, "trace-2")


@given(st.text(), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_the_sample_is_drawn_by_the_id_alone(seed: str, id: str, one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    assert not is_sampled(seed, id, 0.0)
    assert is_sampled(seed, id, 1.0)
    assert is_sampled(seed, id, larger) or not is_sampled(seed, id, smaller)


def test_the_sample_has_its_share_and_differs_by_seed() -> None:
    ids = [traces.new_id() for _ in range(4000)]
    drawn = {seed: {id for id in ids if is_sampled(seed, id, 0.2)} for seed in ("a", "b")}
    assert 700 < len(drawn["a"]) < 900
    assert 100 < len(drawn["a"] & drawn["b"]) < 220
