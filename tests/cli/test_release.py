"""`assay versions`, `release`, `traces`, `watch`, `backup` and `restore` as scripts see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.test_cli import run, sentence
from tests.release.shelf import compared, right, shelf


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder with state and no project, as a server leaves it."""
    folder = tmp_path / "served"
    store, (a, b, _) = shelf(folder / ".assay")
    compared(store, {a: right(0.5), b: right(0.9)})
    store.engine.dispose()
    return folder


def test_a_release_from_promotion_to_rollback(served: Path) -> None:
    def ask(*words: str) -> str:
        done = run(*words, cwd=served)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "is worse" in sentence(run("release", "promote", "pets", "tuned@1", cwd=served), 1)
    assert "pets is at tuned@2" in ask("release", "promote", "pets", "tuned@2")
    made = json.loads(
        ask("release", "canary", "pets", "10%", "tuned@3", "--force", "a trial", "--json")
    )
    assert (made["share"], made["canary"], made["reason"]) == (0.1, "tuned@3", "a trial")
    assert "answers 25% of the callers" in ask("release", "canary", "pets", "25%")
    assert "is at tuned@2 again" in ask("release", "rollback", "pets")
    actions = [c["action"] for c in json.loads(ask("release", "history", "pets", "--json"))]
    assert actions == ["rollback", "canary", "canary", "promote"]
    assert "forced: a trial" in " ".join(ask("release", "history", "pets").split())
    assert "tuned@2" in ask("release", "list")
    watched = json.loads(ask("watch", "pets", "--json"))
    assert (watched["outcome"], watched["labels"]) == ("open", 0)
    assert watched["needed"] > 0
    assert "more labels will show" in ask("watch", "pets")
    assert "kept for 30 days" in ask("traces", "on", "pets")
    assert "No traces are kept" in ask("traces", "list")
    assert "has its label" in ask("traces", "next", "pets")
    assert "0 deleted" in ask("traces", "off", "pets", "--delete")
    assert "no versions" in ask("versions", "list")


def test_wrong_turns_end_in_sentences(served: Path, tmp_path: Path) -> None:
    assert "no release" in sentence(run("release", "history", "pets", cwd=served), 1)
    assert "no share" in sentence(run("release", "canary", "pets", "ten", cwd=served), 2)
    assert "no release" in sentence(run("watch", "pets", cwd=served), 1)
    assert "no trace" in sentence(run("traces", "show", "trace-1", cwd=served), 1)
    assert "up or down" in sentence(run("traces", "feedback", "t", "--thumb", "x", cwd=served), 2)
    assert "no version" in sentence(run("versions", "show", "abcdef", cwd=served), 1)
    assert "no project here" in sentence(run("release", "list", cwd=tmp_path), 2)
    assert not (tmp_path / ".assay").exists()


def test_backup_and_restore(served: Path, tmp_path: Path) -> None:
    run("release", "promote", "pets", "tuned@2", cwd=served)
    file = tmp_path / "monday.tar"
    done = json.loads(run("backup", str(file), "--json", cwd=served).stdout)
    assert done["files"] >= 1
    assert "replaces nothing" in sentence(run("restore", str(file), cwd=served), 2)
    other = tmp_path / "other"
    assert run("restore", str(file), "--project", str(other)).returncode == 0
    listed = json.loads(run("release", "list", "--json", cwd=other).stdout)
    assert [r["agent"] for r in listed] == ["tuned@2"]
    file.write_bytes(file.read_bytes()[:-20000])
    target = str(tmp_path / "third")
    assert "no whole backup" in sentence(run("restore", str(file), "--project", target), 1)
