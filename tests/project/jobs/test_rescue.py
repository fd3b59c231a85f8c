"""What a page reads of an account that was brought home, and which keys it offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.accounts.quota import QuotaError
from assay.jobs import queue
from assay.project.jobs.rescue import SHOWN, fetch, plan, read_rescue
from assay.project.rescue.uploads import ACCOUNT, PLAN, PROJECTS
from assay.project.settings import providers
from assay.project.workspace import Workspace
from assay.rescue.recording import recording_file

URL = "https://account.example/v1"


def test_a_folder_that_was_moved_has_its_recordings(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    workspace = Workspace(before)
    names = [f"ft:base:acme::{number}" for number in range(SHOWN + 9)]
    models = [
        {
            "model": name,
            "project": None if name == names[0] else "abc",
            "recording": str(recording_file(before / ACCOUNT, name)),
        }
        for name in names
    ]
    queue.enqueue(workspace.store, workspace.name, PLAN, {})
    job = queue.claim(workspace.store, "w", [PLAN])
    assert job is not None
    queue.finish(workspace.store, job, {"models": models})
    before.rename(after)
    file = recording_file(after / ACCOUNT, names[1])
    file.parent.mkdir(parents=True)
    file.write_text("{}\n{}\n")
    state = read_rescue(Workspace(after))
    assert [one["model"] for one in state.planned] == names[1 : SHOWN + 1]
    assert state.files[names[1]] == file
    assert (state.recorded[names[1]], state.recorded[names[2]]) == (2, 0)


def test_what_is_fetched_and_made_of_it_counts_in_the_quota(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.quota.storage(workspace.name).rescued == 0
    for name, size in ((f"{ACCOUNT}/files/a", 700), (f"{PROJECTS}/a/data/b", 60)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(bytes(size))
    used = workspace.quota.storage(workspace.name)
    assert (used.rescued, used.total) == (760, 760)
    assert workspace.quota.storage("another").rescued == 0
    workspace.quota.most = 760
    workspace.providers.add("far", {"base_url": URL}, "sk-1")
    workspace.providers.agree("far")
    for work in (lambda: fetch(workspace, "far"), lambda: plan(workspace)):
        with pytest.raises(QuotaError, match="a fetched account or projects made of these"):
            work()
    assert queue.jobs(workspace.store) == []


def test_which_providers_have_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "sk-1")
    monkeypatch.delenv("UNSET", raising=False)
    known = Workspace(tmp_path).providers
    known.add("keyless", {"base_url": URL}, None, keyless=True)
    known.add("kept", {"base_url": URL}, "sk-2")
    known.add("moved", {"base_url": URL}, "sk-3")
    known.add("moved", {"base_url": "https://another.example/v1"}, None)
    for name in ("SET", "UNSET"):
        known.add(name.lower(), {"base_url": URL, "key_env": name}, None)
    known.add("headed", {"base_url": URL, "headers": {"X-Key": "${SET}"}}, None)
    assert [name for name in known if providers.has_key(known, name)] == ["headed", "kept", "set"]
