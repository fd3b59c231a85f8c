"""Files in a bucket: of everybody who works in a folder, told by its commands, served over HTTP."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import openai
import pytest
from tests.command import run
from tests.many_rows import project as make_project
from tests.s3 import KEY, SECRET, S3Server
from tests.serve.running import running

from assay.config.yaml_text import edit
from assay.errors import ConfigError, ObjectsError
from assay.project.machine import _state_of
from assay.project.state import check_bucket
from assay.project.workspace import Workspace, open_to_serve
from assay.store import local_copies, stored_files
from assay.store.object_place import objects_of


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_OBJECTS", raising=False)


def on(root: Path, bucket: str) -> Path:
    root.mkdir(exist_ok=True)
    file = make_project(root, 3).root / "assay.yaml"
    file.write_text(edit(file.read_text(), {"state": {"objects": bucket}}))
    return root


def test_everybody_who_works_in_a_folder_uses_its_bucket(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = on(tmp_path / "a", "s3://bkt/a")
    workspace = open_to_serve(root)
    kept = stored_files.keep(workspace.store, "p", [b"x"], "a.txt", "user_data")
    assert s3.keys("bkt/a/files/")
    good = (root / "assay.yaml").read_text()
    monkeypatch.setenv("ASSAY_OBJECTS", "s3://bkt/b")  # what the file says goes first
    for broken in ("name: [", good.replace("task:", "tsk:"), good):
        (root / "assay.yaml").write_text(broken)
        store = open_to_serve(root).store
        local_copies.drop(store, "files", kept.id)
        with stored_files.on_disk(store, kept) as path:
            assert path.read_bytes() == b"x"
    (tmp_path / "none").mkdir()
    for other in (tmp_path / "none", make_project((tmp_path / "none"), 3).root):
        assert Workspace(other).store.bucket == "s3://bkt/b"
    monkeypatch.setenv("ASSAY_OBJECTS", "https://b")
    with pytest.raises(ConfigError, match="the variable ASSAY_OBJECTS"):
        _ = Workspace(tmp_path / "none").store


def test_servers_with_folders_of_their_own_serve_each_others_files(
    tmp_path: Path, s3: S3Server, empty_postgres: str
) -> None:
    roots = [on(tmp_path / name, "s3://bkt") for name in ("one", "two")]
    for root in roots:
        file = root / "assay.yaml"
        file.write_text(
            edit(file.read_text(), {"state": {"database": empty_postgres, "objects": "s3://bkt"}})
        )
    one = Workspace(roots[0]).store
    kept = stored_files.keep(one, "p", [b"of one"], "a.txt", "user_data")
    (roots[1] / ".assay").mkdir(exist_ok=True)
    shutil.copy(roots[0] / ".assay" / "database.json", roots[1] / ".assay")
    two = Workspace(roots[1]).store
    with stored_files.on_disk(two, stored_files.find(two, "p", kept.id)) as path:
        assert path.read_bytes() == b"of one"
        assert path.is_relative_to(roots[1])


@pytest.mark.parametrize(
    "bucket", ["b", "s3://", "s3://bkt?x", "s3://key:word@b/x", "s3://bkt/../x", "https://b.s3/x"]
)
def test_a_bucket_is_named_without_credentials(tmp_path: Path, bucket: str) -> None:
    with pytest.raises(ConfigError) as error:
        _ = Workspace(on(tmp_path / "a", bucket)).store
    assert "word" not in str(error.value)


def test_it_is_looked_at_before_it_is_served(tmp_path: Path, s3: S3Server) -> None:
    root, said = on(tmp_path / "a", "s3://bkt"), list[str]()
    s3.before = lambda method, path: 400
    check_bucket(Workspace(root).store, said.append)
    assert "could not be reached" in said[0]
    [problem] = _state_of(root).problems
    assert "AWS_ENDPOINT_URL" in problem
    s3.before = lambda method, path: None
    s3.is_replacing = True
    with pytest.raises(ObjectsError, match="If-None-Match"):
        check_bucket(Workspace(root).store, said.append)
    s3.is_replacing = False
    found = _state_of(root)
    assert (found.objects, found.problems) == (
        "s3://bkt answers and honours conditional writes",
        (),
    )


def test_files_in_a_bucket_are_served(tmp_path: Path, s3: S3Server) -> None:
    with running(on(tmp_path / "a", "s3://bkt")) as server, server.client() as client:
        data = os.urandom(300_000)
        made = client.files.create(file=("rows.jsonl", data), purpose="fine-tune")
        store = server.workspace.store
        for cached in (True, False):
            if not cached:
                local_copies.drop(store, "files", made.id)
            assert client.files.content(made.id).read() == data
        with server.http() as http:
            path = f"/v1/files/{made.id}/content"
            part = http.get(path, headers={"Range": "bytes=1000-1999"})
            assert (part.status_code, part.content) == (206, data[1000:2000])
        end = time.monotonic() + 30
        while any((store.folder / "cache" / "held").iterdir()):  # until it was sent
            assert time.monotonic() < end
            time.sleep(0.01)
        upload = client.uploads.create(
            bytes=4, filename="a", mime_type="text/plain", purpose="user_data"
        )
        parts = [client.uploads.parts.create(upload.id, data=word).id for word in (b"ab", b"cd")]
        done = client.uploads.complete(upload.id, part_ids=parts)
        assert done.file is not None
        assert client.files.content(done.file.id).read() == b"abcd"
        assert s3.keys("bkt/uploads/") == []

        local_copies.drop(store, "files", made.id)
        [key] = s3.keys(f"bkt/files/{made.id}")
        s3.objects[key] = b"?" * len(data)
        with pytest.raises(openai.InternalServerError) as damaged:
            client.files.content(made.id)
        assert (damaged.value.status_code, damaged.value.code) == (503, "files_unavailable")
        s3.before = lambda method, path: 400
        with pytest.raises(openai.InternalServerError) as away:
            client.files.create(file=("rows.jsonl", data), purpose="fine-tune")
        assert away.value.code == "files_unavailable"
        assert not any(word in str(away.value) for word in (KEY, SECRET, "s3://"))
        assert client.files.delete(made.id).deleted
        assert [file.id for file in client.files.list()] == [done.file.id]


@pytest.mark.slow
def test_a_backup_says_that_objects_are_not_in_it(tmp_path: Path, s3: S3Server) -> None:
    root = on(tmp_path / "a", "s3://bkt/x")
    stored_files.keep(Workspace(root).store, "p", [b"kept"], "a.txt", "user_data")
    objects_of(Workspace(root).store)
    done = run("backup", str(tmp_path / "a.tar"), cwd=root)
    assert done.returncode == 0, done.stderr
    assert "s3://bkt/x" in done.stdout
