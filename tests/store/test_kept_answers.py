"""What was stored is chosen alike by both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.store import kept_answers, stored_completions, stored_responses
from assay.store.conversations import Owner
from assay.store.kept_answers import Filters
from assay.store.store import Store

ODD = ("it's %", "a,b", "NULL", " x ", "", "{b", "}")
MINE, OTHER = Owner("support", "key_1"), Owner("support", "key_2")
ADMIN = Owner("support", "key_3", sees_all=True)


def keep(store: Store, owner: Owner, n: int, **more: Any) -> None:
    body = {"id": f"resp_{n}", "model": "desk", "created_at": 100 + n, "store": True, "output": []}
    metadata = dict.fromkeys(ODD, f"ä{n}")
    asked = {"metadata": metadata, "temperature": n / 10, "top_p": None, "user": None}
    stored_responses.keep(store, owner, {**body, **asked, **more}, [])
    body = {"id": f"chat-{n}", "model": "desk", "created": 100 + n, "choices": []}
    stored_completions.keep(store, owner, body, [], metadata)


def test_filters(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, database)
    monkeypatch.setattr(kept_answers, "PAGE", 2)
    for n in range(5):
        keep(store, MINE, n, top_p=0.3, user=f"user {n}")
    keep(store, OTHER, 5)
    for filters, wanted in (
        (Filters(), [4, 3, 2, 1, 0]),
        (Filters(model="desk", after=102), [4, 3, 2]),
        (Filters(after=101, before=103), [3, 2, 1]),
        *((Filters(metadata={name: "ä2"}), [2]) for name in ODD),
        (Filters(metadata={"it's %": "ä2", "topic": "a"}), []),
        (Filters(model="another"), []),
    ):
        chosen = kept_answers.completions(store, MINE, filters)
        assert [one.id for one in chosen] == [f"chat-{n}" for n in wanted]
        responses = kept_answers.responses(store, MINE, filters)
        assert [one.id for one in responses] == [f"resp_{n}" for n in wanted]
    for filters, wanted in (
        (Filters(temperature=0.3), [3]),
        (Filters(top_p=0.3), [4, 3, 2, 1, 0]),
        (Filters(top_p=0.4), []),
        (Filters(users=["user 0", "user 4", "none"]), [4, 0]),
    ):
        responses = kept_answers.responses(store, MINE, filters)
        assert [one.id for one in responses] == [f"resp_{n}" for n in wanted]
    assert [one.id for one in kept_answers.completions(store, OTHER, Filters())] == ["chat-5"]
    walk = kept_answers.completions(store, ADMIN, Filters())
    assert next(walk).id == "chat-5"
    keep(store, MINE, 6)  # no part of it
    assert [one.id for one in walk] == [f"chat-{n}" for n in (4, 3, 2, 1, 0)]
