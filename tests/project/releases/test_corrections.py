"""Corrections of a release's traces that are saved among the project's data."""

from __future__ import annotations

from pathlib import Path

from tests.release.shelf import shelf

from assay.example import Message
from assay.project import releases
from assay.project.releases import corrections
from assay.project.workspace import Workspace
from assay.release import traces
from assay.release.examples import ExportedExamples


def test_the_same_corrections_are_saved_once_though_some_are_rejected(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    store, (agent,) = shelf(tmp_path, 1, workspace.store)
    releases.promote(workspace, "desk", "tuned@1", force="a test")
    releases.traces_on(workspace, "desk", sample=1.0, days=7, most=100)
    # A blank input is rejected.
    for n, text in enumerate(("Where is it?", " ", "When does it come?")):
        asked, answer = [Message("user", text)], Message("assistant", "Here.")
        id = f"trace-{n}"
        assert traces.record(
            store, workspace.name, "desk", agent, id=id, messages=asked, answer=answer
        )
        if n < 2:
            releases.give_feedback(workspace, id, thumb="down", corrected="There.")

    def save() -> tuple[ExportedExamples, int]:
        made = corrections.save(workspace, "desk")
        return made, len(list((tmp_path / "data").iterdir()))

    first, files = save()
    assert (first.written, first.rejected, files) == (1, 1, 2)
    assert save() == (first, 2)
    releases.give_feedback(workspace, "trace-2", thumb="down", corrected="Today.")
    second, files = save()
    assert (second.written, files) == (2, 3)
    assert second.file != first.file
    assert second.rejected_file == first.rejected_file
