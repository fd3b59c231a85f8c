"""What was said and typed of an uploaded file outlives the page, and no other file gets it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.small import write_csv

from assay.errors import StateError
from assay.project.start import example_file
from assay.project.start.entries import (
    ColumnEntries,
    FormEntries,
    ProposalEntries,
    keep_entries,
    read_entries,
)
from assay.project.start.from_file import FileProjectOptions
from assay.project.workspace import Workspace

SAID = ProposalEntries(
    FileProjectOptions(
        input=("beta",), output=("gamma",), document="", task="label", kept_task="label"
    ),
    FormEntries(
        system_prompt="Name it.",
        proposed_prompt="Answer with a label.",
        labels=("cat", "dog"),
        good_enough="80",
        monthly_requests="3.000",  # as it was typed
        machine_hour_usd="",
        ticks={"fine-tune": False},
    ),
    {"dgo": "dog"},
    ColumnEntries(input=("beta",), output=("gamma", "delta")),
)


def test_entries_are_kept_until_another_file_is_brought(tmp_path: Path) -> None:
    workspace, source = Workspace(tmp_path), write_csv(tmp_path / "pets.csv")
    file = example_file.keep_file(workspace, "pets.csv", source)
    assert read_entries(workspace) == ProposalEntries()
    keep_entries(workspace, file, SAID)
    assert read_entries(workspace) == SAID
    other = example_file.keep_file(workspace, "other.csv", source)
    assert read_entries(workspace) == ProposalEntries()
    with pytest.raises(StateError, match=r"is no longer the uploaded file. Reload"):
        keep_entries(workspace, file, SAID)  # on a page that still shows the former file
    keep_entries(workspace, other, replace(SAID, names={}))
    example_file.forget_file(workspace)
    assert read_entries(workspace) == ProposalEntries()


@pytest.mark.parametrize(
    "damaged", ["", "[]", '{"options": {"input": [1]}}', '{"form": {"ticks": []}}', '{"names": 1}']
)
def test_entries_that_cannot_be_read_are_taken_for_nothing(tmp_path: Path, damaged: str) -> None:
    workspace = Workspace(tmp_path)
    example_file.entries_file(workspace).write_text(damaged)
    assert read_entries(workspace) == ProposalEntries()
