"""People: roles, links, and that an admin is always left."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.accounts import people
from assay.errors import NotFoundError, StateError, UsageError
from assay.project.workspace import Workspace
from assay.store.audit import entries


def test_a_role_may_what_those_before_it_may(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    editor = people.add(workspace, "ann", "editor")
    assert editor.may("viewer")
    assert editor.may("editor")
    assert not editor.may("admin")


@pytest.mark.parametrize("name", ["", "  ", "a" * 81, "two\x00parts", "ann"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path)
    people.add(workspace, "ann", "viewer")
    with pytest.raises(UsageError):
        people.add(workspace, name, "viewer")


def test_no_other_roles(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(UsageError, match="viewer, editor, admin"):
        people.add(workspace, "ann", "god")


def test_an_admin_is_always_left(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    ann, ben = (people.add(workspace, name, "admin") for name in ("ann", "ben"))
    people.set_role(workspace, ben.id, "viewer")
    for act in (
        lambda: people.set_role(workspace, ann.id, "editor"),
        lambda: people.remove(workspace, ann.id),
    ):
        with pytest.raises(StateError):
            act()
    people.remove(workspace, ben.id)
    with pytest.raises(NotFoundError):
        people.find(workspace, "ben")


def test_who_is_removed_or_demoted_is_out(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    people.add(workspace, "boss", "admin")
    ann = people.add(workspace, "ann", "editor")
    link = people.sign_in_secret(workspace, ann.id)
    found = people.redeem(workspace, people.sign_in_secret(workspace, ann.id))
    assert found is not None
    people.set_role(workspace, ann.id, "admin")
    assert people.find_signed_in(workspace, found[1]) is not None
    people.set_role(workspace, ann.id, "viewer")
    assert people.find_signed_in(workspace, found[1]) is None
    assert people.redeem(workspace, link) is None


def test_the_owner_is_made_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first, second = people.owner_secret(workspace), people.owner_secret(workspace)
    assert first != second
    assert [p.name for p in people.people(workspace)] == [people.OWNER]
    for secret in (first, second):
        found = people.redeem(workspace, secret)
        assert found is not None
        assert found[0].role == "admin"


def test_changes_are_put_to_whom_they_come_from(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    people.add(workspace.act_as("user:ann"), "ben", "viewer")
    entry = entries(workspace.store, workspace.name)[0]
    assert (entry.who, entry.action, entry.what) == ("user:ann", "person.add", "ben")
    assert workspace.who != "user:ann"
