"""A backup holds who could get in when it was made; a restore lets nobody in unnoticed."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from assay.accounts import people
from assay.accounts.keys import create_key, find_key, revoke_key, secret_hash
from assay.cli.main import app
from assay.errors import UsageError
from assay.project.workspace import Workspace
from assay.store.backup import backup
from assay.store.restored_access import RestoredAccess
from assay.store.tables import ApiKeyRow, AuditRow

ASSAY = [sys.executable, "-m", "assay.cli.main"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An archive, monday.tar, of a time when a key was good and a person had a session and a link;
    since then the key was revoked and the person removed."""
    workspace = Workspace(_made(tmp_path / "served"))
    key, secret = create_key(workspace.store, "default", "left behind", ["admin"])
    with workspace.store.session() as rows:  # a name that was once taken
        rows.execute(update(ApiKeyRow).values(name="left \x1b[2J behind"))
    gone, _ = create_key(workspace.store, "default", "gone before", ["admin"])
    revoke_key(workspace.store, gone.id)
    workspace.providers.add("far", {"base_url": "https://far.example.com/v1"}, None)
    workspace.providers.agree("far")
    person = people.add(workspace, "mallory", "admin")
    redeemed = people.redeem(workspace, people.sign_in_secret(workspace, person.id))
    assert redeemed is not None
    session = redeemed[1]
    unused = people.sign_in_secret(workspace, person.id)
    backup(workspace.store, tmp_path / "monday.tar")
    (tmp_path / "secrets.json").write_text(json.dumps([secret, session, unused, key.id, gone.id]))
    workspace.store.engine.dispose()
    return tmp_path


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_sessions_and_links_end(folder: Path) -> None:
    secret, session, unused, *_ = json.loads((folder / "secrets.json").read_text())
    done = CliRunner().invoke(
        app, ["restore", str(folder / "monday.tar"), "--project", str(folder / "new"), "--yes"]
    )
    assert done.exit_code == 0, done.output
    workspace = Workspace(folder / "new")
    assert find_key(workspace.store, secret) is not None  # agreed to
    assert people.find_signed_in(workspace, session) is None
    assert people.redeem(workspace, unused) is None
    with workspace.store.session() as rows:
        (line,) = rows.scalars(select(AuditRow).where(AuditRow.action == "state.restore"))
        assert (line.who, line.what) == (workspace.who, "monday.tar")
    workspace.store.engine.dispose()
    database = folder / "new" / ".assay" / "assay.db"
    for held in (session, unused):  # not even as a hash in a page that nothing points at
        assert secret_hash(held).encode() not in database.read_bytes()


def test_nothing_is_restored_where_nobody_can_be_asked(folder: Path) -> None:
    *_, key, gone = json.loads((folder / "secrets.json").read_text())
    command = ["restore", str(folder / "monday.tar"), "--project", str(folder / "new")]
    with pytest.raises(UsageError) as refused:
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert refused.value.exit_code == 2
    assert not (folder / "new" / ".assay").exists()
    done = subprocess.run(
        [*ASSAY, *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    for named in (key, "mallory", "far"):
        assert named in done.stderr
    assert gone not in done.stderr
    assert "\x1b[2J" not in done.stderr
    assert not (folder / "new" / ".assay").exists()


@pytest.mark.parametrize(("answer", "there"), [("n\n", False), ("y\n", True), ("\n", False)])
def test_a_person_is_asked(folder: Path, answer: str, there: bool) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    done = subprocess.run(
        [*ASSAY, "restore", str(folder / "monday.tar"), "--project", str(folder / "new"), "--json"],
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert (folder / "new" / ".assay").exists() is there
    assert done.returncode == (0 if there else 1)
    if there:
        told = json.loads(done.stdout)
        assert [one["name"] for one in told["people"]] == ["mallory"]
        assert len(told["keys"]) == 1
        assert told["ended"] == {"sessions": 1, "links": 1}


def test_an_older_database_and_an_odd_one_end_in_no_traceback(tmp_path: Path) -> None:
    from assay.store.restored_access import end_sessions

    empty = tmp_path / "empty.db"
    sqlite3.connect(empty).close()
    assert end_sessions(empty) == RestoredAccess()
    odd = tmp_path / "odd.db"
    with sqlite3.connect(odd) as connection:
        connection.execute("CREATE TABLE api_keys (id)")
    with pytest.raises(sqlite3.DatabaseError):
        end_sessions(odd)
