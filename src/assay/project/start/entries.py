"""What a person has said of the uploaded file, and typed into the project that is proposed of it.

    keep_entries(workspace, file, ProposalEntries(options, form))
    read_entries(workspace)  # after a reload, on another day, by another person

Kept with the upload, until another file is brought or the project is created.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from assay import json_reader
from assay.errors import StateError
from assay.project.start.example_file import entries_file, find_file
from assay.project.start.from_file import FileProjectOptions
from assay.project.start.running_creation import check_idle
from assay.project.workspace import Workspace
from assay.store.files import write_json


@dataclass(frozen=True, slots=True)
class FormEntries:
    """What a person has typed or ticked, where it differs from what is proposed.

    Attributes:
        system_prompt: None: as it is proposed.
        proposed_prompt: the proposal that the person has changed; stays until it is touched again.
        labels: of the proposal that the person has changed.
        good_enough: in percent; None: no minimum. Of this and the other numbers, what was typed.
        ticks: by the candidate's name.
        abstain: None: as it is proposed.
    """

    system_prompt: str | None = None
    proposed_prompt: str = ""
    labels: tuple[str, ...] = ()
    good_enough: float | str | None = None
    monthly_requests: float | str | None = FileProjectOptions().monthly_requests
    machine_hour_usd: float | str | None = FileProjectOptions().machine_hour_usd
    machine_hours: float | str | None = FileProjectOptions().machine_hours_per_month
    ticks: dict[str, bool] = field(default_factory=dict)
    abstain: str | None = None


@dataclass(frozen=True, slots=True)
class ColumnEntries:
    """What is chosen where columns have to be named, before it is sent."""

    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    group: str | None = None
    document: str | None = None


@dataclass(frozen=True, slots=True)
class ProposalEntries:
    """All that was said and typed.

    Attributes:
        options: what changes the proposal: columns and task.
        form: what was changed in it.
        names: new names of labels that are not in the file yet, by the old ones.
        columns: chosen where the file has to be told them.
    """

    options: FileProjectOptions = field(default_factory=FileProjectOptions)
    form: FormEntries = field(default_factory=FormEntries)
    names: dict[str, str] = field(default_factory=dict)
    columns: ColumnEntries = field(default_factory=ColumnEntries)


_ENTRIES = TypeAdapter(ProposalEntries)


def keep_entries(workspace: Workspace, file: Path, entries: ProposalEntries) -> None:
    """Remember what was said of an uploaded file, until another one is brought.

    Raises:
        StateError: that file is not there any more, or a project is being created of it.
    """
    check_idle(workspace)
    if find_file(workspace) != file:
        what = "the file that this page shows is no longer the uploaded file."
        raise StateError(what, fix="Reload the page to see what is.")
    write_json(entries_file(workspace), asdict(entries))


def read_entries(workspace: Workspace) -> ProposalEntries:
    """What was kept last; as if nothing was said where it cannot be read."""
    try:
        found = json_reader.read(entries_file(workspace).read_bytes())
        return _ENTRIES.validate_python(found)
    except (FileNotFoundError, ValueError):
        return ProposalEntries()
