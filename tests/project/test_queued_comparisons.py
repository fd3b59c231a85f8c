"""What comparisons that are jobs will still do to the holdout."""

from __future__ import annotations

from pathlib import Path

from tests.many_rows import project

from assay.compare.holdout import OpeningRequest, _log
from assay.config.yaml_text import edit
from assay.jobs import queue
from assay.project import settings
from assay.project.queued_comparisons import COMPARE


def test_an_opening_of_the_comparison_that_runs_is_counted_once(tmp_path: Path) -> None:
    workspace = project(tmp_path, 90)
    assert workspace.project is not None
    manifest = workspace.project.split()
    text = edit(settings.read(workspace).text, {"margin": 0.05})
    queue.enqueue(workspace.store, workspace.name, COMPARE, {})

    def said() -> str:
        return settings.validate(workspace, text, admin=True).follows[0]

    assert "for the 1st time, or the 2nd if the comparison that waits or is running" in said()
    assert queue.claim(workspace.store, "worker", [COMPARE])
    assert "for the 1st time, or the 2nd if" in said()
    _log(workspace.store, manifest.holdout_sha256, "running", OpeningRequest(""), 0.05)
    assert "for the 2nd time. Each" in said()
    queue.enqueue(workspace.store, workspace.name, COMPARE, {})
    assert "for the 2nd time, or the 3rd if" in said()
