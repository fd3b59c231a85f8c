"""One project at a time is created in a folder, and everybody sees how far it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.small import write_csv, write_model

from assay.errors import DataError, StateError
from assay.progress import Progress
from assay.project.project import Project
from assay.project.start import creation, example_file, from_file
from assay.project.start.from_file import FileProjectOptions
from assay.project.start.running_creation import (
    INTERRUPTED,
    Creation,
    begin_creation,
    read_creation,
)
from assay.project.workspace import Workspace


def test_while_one_is_created_nothing_of_it_changes_and_no_other_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_file, "STARTER_MODEL", str(write_model(tmp_path / "model")))
    (folder := tmp_path / "served").mkdir()
    workspace, source = Workspace(folder), write_csv(tmp_path / "pets.csv")
    file = example_file.keep_file(workspace, "pets.csv", source)
    wanted = FileProjectOptions(candidates=("prompt",))
    other = Workspace(folder)  # another tab, or another server
    changes: list[Callable[[], Any]] = [
        lambda: from_file.create_from(other, file, FileProjectOptions()),
        lambda: example_file.keep_file(other, "other.csv", source),
        lambda: example_file.remove_repeats(other, None),
        lambda: from_file.discard(other),
    ]

    def slowly(drafted: Any, *, folder: Path, progress: Progress) -> Project:
        progress.say("Downloading it.")
        assert read_creation(other) == Creation("Downloading it.")
        with progress.task("Downloading", 10, "MB") as task:
            monkeypatch.setattr("assay.project.start.running_creation.WRITTEN_EVERY_S", 0)
            task.advance(5)
        assert read_creation(other) == Creation("Downloading", 0.5)
        for change in changes:
            with pytest.raises(StateError, match="a project is being created"):
                change()
        return creation.create(drafted, folder=folder, progress=progress)

    monkeypatch.setattr(from_file, "create", slowly)
    from_file.create_from(workspace, file, wanted)
    assert read_creation(other) is None
    assert other.config is not None
    assert other.config.candidates == ["prompt"]
    with pytest.raises(StateError, match=r"already a project. Reload the page"):
        from_file.create_from(other, file, FileProjectOptions())


def test_why_one_failed_is_told_until_the_next(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    failure = DataError("it has no rows.", where=str(tmp_path / "data" / "pets.csv"))
    with pytest.raises(DataError), begin_creation(workspace):
        raise failure
    assert read_creation(workspace) == Creation(error="data/pets.csv: it has no rows.")
    with pytest.raises(KeyboardInterrupt), begin_creation(workspace):
        raise KeyboardInterrupt  # as a kill, it leaves no word of itself
    assert read_creation(workspace) == Creation(error=INTERRUPTED)
    with begin_creation(workspace):
        assert read_creation(workspace) == Creation("Reading the file")
    assert read_creation(workspace) is None
