"""What a person agrees to who starts a comparison."""

from __future__ import annotations

import os
from pathlib import Path

from tests.small import small_project, write_csv

from assay.knowledge.sources import SourceFile, sources
from assay.project import jobs
from assay.project.fingerprint import (
    GRADERS,
    VERSIONED,
    basis,
    describe_changes,
    fingerprint,
)
from assay.project.jobs import begun
from assay.project.knowledge import documents
from assay.project.workspace import Workspace


def test_validation_rows_count(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "validation.csv", 60, seed=1)
    edit = {"  split:": f"  validation: {file}\n  split:"}
    workspace = Workspace(small_project(tmp_path, edit=edit).root)
    agreed = fingerprint(workspace)
    write_csv(file, 59, seed=1)
    assert fingerprint(workspace) != agreed


def test_documents_count_but_not_that_a_comparison_reads_them(tmp_path: Path) -> None:
    root = small_project(tmp_path).root
    (root / "docs").mkdir()
    paper, settings = root / "docs" / "cats.md", root / "assay.yaml"
    paper.write_text("# Cats\n\nEvery cat is fed at noon.\n")
    settings.write_text(settings.read_text() + "\nknowledge:\n  paths: [docs]\n")
    workspace = Workspace(root)
    agreed, before = fingerprint(workspace), basis(workspace)  # there is no knowledge base yet
    base = documents.base(workspace, "documents")
    base.create()
    found, _ = sources([root / "docs"])
    base.add([SourceFile(os.path.relpath(one.document, root), one.file) for one in found])
    assert [one.path for one in base.documents()] == ["docs/cats.md"]
    assert fingerprint(workspace) == agreed
    assert describe_changes(before, basis(workspace)) == ""
    paper.write_text("# Cats\n\nEvery cat is fed at midnight.\n")
    assert fingerprint(workspace) != agreed
    now = basis(workspace)
    assert describe_changes(before, now) == ""  # a comparison has its own
    later = {**now, GRADERS: {"graders.py": "a" * 64}, VERSIONED: "9"}
    told = f"a file of graders was changed and Assay was updated from {now[VERSIONED]} to 9"
    assert describe_changes(now, later) == told
    job = jobs.compare(workspace, agreed=fingerprint(workspace))
    began = begun.begin(workspace, job.id)
    assert began.read_basis() == now
    (root / "docs" / "dogs.md").write_text("# Dogs\n\nEvery dog is fed at dawn.\n")
    base.remove(["docs/cats.md"])
    assert basis(workspace, began) == now != basis(workspace)
    assert fingerprint(workspace, began) == job.payload["agreed"]
    [noted] = list((root / ".assay" / "begun" / job.id / "documents").glob("*.md"))
    assert noted.read_text() == paper.read_text()
