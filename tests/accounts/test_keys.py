"""Keys and the audit log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from assay.accounts.keys import (
    create_key,
    find_key,
    first_key,
    free_name,
    list_keys,
    rename_key,
    revoke_key,
)
from assay.errors import AssayError, NotFoundError, UsageError
from assay.store.audit import entries
from assay.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def test_a_key_is_found_by_its_secret_until_it_is_revoked(store: Store) -> None:
    key, secret = create_key(store, "support", "ci", ["chat", "files"])
    assert find_key(store, secret) == key
    assert find_key(store, secret + "x") is None
    assert find_key(store, "\udcff") is None
    assert revoke_key(store, key.id).revoked is not None
    assert find_key(store, secret) is None
    assert revoke_key(store, key.id).revoked is not None
    with pytest.raises(AssayError):
        revoke_key(store, "key_none")


def test_the_secret_is_nowhere_on_disk(store: Store) -> None:
    _, secret = create_key(store, "support", "ci", ["chat"])
    store.engine.dispose()
    for file in store.folder.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes()


def test_the_first_key_is_made_once(store: Store) -> None:
    secret = first_key(store, "default")
    assert secret is not None
    assert secret.startswith("assay-")
    assert len(secret) > 30
    found = find_key(store, secret)
    assert found is not None
    assert found.scopes == ("admin",)
    revoke_key(store, found.id)
    assert first_key(store, "default") is None


def test_unknown_scopes_are_refused(store: Store) -> None:
    for scopes in ([], ["root"]):
        with pytest.raises(UsageError):
            create_key(store, "support", "x", scopes)
    assert list_keys(store) == []


def test_a_key_with_labels_has_no_scope_that_shows_more(store: Store) -> None:
    key, secret = create_key(store, "support", "x", ["chat", "knowledge"], labels=["b", "a"])
    assert find_key(store, secret) == key
    assert key.labels == ("a", "b")
    assert create_key(store, "support", "y", ["chat"])[0].labels is None
    for scope in ("admin", "files", "fine_tuning", "releases", "traces"):
        with pytest.raises(UsageError, match="sees more than"):
            create_key(store, "support", "x", ["chat", scope], labels=["a"])
    with pytest.raises(UsageError, match="cannot be used as a label"):
        create_key(store, "support", "x", ["chat"], labels=[" "])


def test_a_renamed_key_is_the_same_key(store: Store) -> None:
    key, secret = create_key(store, "support", "x", ["chat"], labels=["a"])
    assert rename_key(store, key.id, " the desk ", who="ann").name == "the desk"
    found = find_key(store, secret)
    assert found == replace(key, name="the desk")
    assert entries(store, "support")[0].details == {"before": "x", "after": "the desk"}
    with pytest.raises(UsageError, match="the name is missing"):
        rename_key(store, key.id, "  ")
    with pytest.raises(NotFoundError):
        rename_key(store, key.id, "y", project="other")


def test_who_made_and_revoked_keys_is_on_record(store: Store) -> None:
    key, secret = create_key(store, "support", "ci", ["chat"], who="ann")
    revoke_key(store, key.id, who="ben")
    revoke_key(store, key.id, who="cara")
    log = entries(store, "support")
    assert [(e.who, e.action, e.what) for e in log] == [
        ("ben", "key.revoke", key.id),
        ("ann", "key.create", key.id),
    ]
    assert secret not in str([e.details for e in log])
    assert entries(store, "other") == []


def test_two_keys_that_work_have_two_names(store: Store) -> None:
    """Of keys with one name nobody knows which to revoke; capitals and blanks are no difference."""
    first, _ = create_key(store, "support", "Web shop", ["chat"])
    other, _ = create_key(store, "support", "ci", ["chat"])
    create_key(store, "elsewhere", "Web shop", ["chat"])
    for taken in ("Web shop", " web SHOP "):
        with pytest.raises(UsageError, match="already a key named Web shop"):
            create_key(store, "support", taken, ["chat"])
        with pytest.raises(UsageError, match="already a key named Web shop"):
            rename_key(store, other.id, taken)
    for empty in ("", "  "):
        with pytest.raises(UsageError, match="the name is missing"):
            create_key(store, "support", empty, ["chat"])
    assert rename_key(store, first.id, "web shop").name == "web shop"
    assert free_name(store, "support", "WEB shop") == "WEB shop 2"
    revoke_key(store, first.id)
    assert rename_key(store, other.id, "Web shop").name == "Web shop"
    assert rename_key(store, first.id, "Web shop").revoked is not None
