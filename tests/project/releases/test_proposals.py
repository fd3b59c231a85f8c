"""Promotions that programs propose: on record, changing nothing, open until somebody decides."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.command import run
from tests.release.shelf import compared, right, shelf

from assay.errors import AssayError, NotFoundError, StateError
from assay.project import releases
from assay.project.programs import PROGRAM
from assay.project.releases.proposals import MOST_A_DAY, MOST_OPEN, proposals, propose
from assay.project.workspace import Workspace
from assay.store.audit import entries


def test_a_proposal_changes_nothing_and_ends_when_its_release_is_changed(tmp_path: Path) -> None:
    owner = Workspace(tmp_path)
    store, (one, other) = shelf(tmp_path, 2, owner.store)
    program = owner.act_as(f"{PROGRAM} key coder (key_1)")
    asked = propose(program, "support", "tuned@1", "because")
    assert asked.doubt is not None  # no comparison
    compared(store, {one: right(1.0, 60), other: right(0.5, 60)})
    assert propose(program, "support", "tuned@1", "because, again") == proposals(owner)[0]
    [found] = proposals(owner)
    assert (found.agent, found.reason, found.who) == ("tuned@1", "because", program.who)
    assert found.doubt is None
    assert releases.list_releases(owner) == []
    assert [line.action for line in entries(store, owner.name)] == ["release.propose"]
    newer = propose(program, "support", "tuned@2", "another")
    assert proposals(owner) == [newer]
    told = run("release", "proposals", "--project", str(tmp_path)).stdout
    assert "tuned@2" in told
    assert "coder" in told
    releases.promote(owner, "support", "tuned@1")
    assert proposals(owner) == []
    with pytest.raises(StateError, match="serves tuned@1 already"):
        propose(program, "support", "tuned@1", "once more")
    assert propose(program, "support", "tuned@2", "once more") == proposals(owner)[0]


def test_proposals_are_few_and_of_what_there_is(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    shelf(tmp_path, 2, workspace.store)
    with pytest.raises(NotFoundError):
        propose(workspace, "support", "nobody@1", "why")
    with pytest.raises(AssayError, match="release name"):
        propose(workspace, "../x", "tuned@1", "why")
    for number in range(MOST_A_DAY):
        propose(workspace, "name-0", f"tuned@{1 + number % 2}", "why")
    with pytest.raises(StateError, match="within a day"):
        propose(workspace, "name-0", "tuned@1", "why")
    for number in range(1, MOST_OPEN):
        propose(workspace, f"name-{number}", "tuned@1", "why")
    with pytest.raises(StateError, match="wait for the owner"):
        propose(workspace, "one-more", "tuned@1", "why")
    assert len(proposals(workspace)) == MOST_OPEN
