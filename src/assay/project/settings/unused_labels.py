"""Labels of the settings that no row has any more, such as a misspelt one whose last row was
corrected: the system prompt still offers them. Some mean that: rows are still to come."""

from __future__ import annotations

from typing import Any

from assay.data.contents import quote_label
from assay.data.split import has_split, read_manifest
from assay.errors import DataError, HoldoutError
from assay.project import settings
from assay.project.workspace import Workspace, project_of

MOST_NAMED = 5


def find_unused_labels(workspace: Workspace) -> list[str]:
    """The labels of the settings that no row of the present split has; none where it has a part of
    the rows alone, or there is no split."""
    project = workspace.project
    if project is None or project.config.task != "label" or project.config.labels is None:
        return []
    config, data = project.config, project.config.data
    if (data.train_rows, data.holdout_rows) != (None, None) or not has_split(project.split_folder):
        return []
    try:
        classes = read_manifest(project.split_folder).classes
    except (DataError, HoldoutError):
        return []
    abstain = None if config.knowledge is None else config.knowledge.abstain
    return [
        one for one in project.config.labels if one != abstain and not any(classes.get(one, ()))
    ]


def describe_unused(labels: list[str]) -> str:
    """What is said of them, in sentences."""
    named = ", ".join(map(quote_label, labels[:MOST_NAMED]))
    more = ", ..." if labels[MOST_NAMED:] else ""
    if len(labels) == 1:
        return (
            f"No row that is used has the label {named} any more, or yet. It is still among the "
            "labels that may be answered."
        )
    return (
        f"No row that is used has one of the labels {named}{more} any more, or yet. They are still "
        "among the labels that may be answered."
    )


def remove_unused_labels(workspace: Workspace) -> list[str]:
    """Take them out of the labels, and out of the system prompt where one is a line of a list.

    Returns:
        Those that the system prompt still speaks of otherwise.

    Raises:
        AssayError: as `assay.project.settings.save`.
    """
    config = project_of(workspace).config
    unused = set(find_unused_labels(workspace))
    lines = config.system_prompt.splitlines()
    kept = "\n".join(line for line in lines if line.strip().removeprefix("- ") not in unused)
    values: dict[str, Any] = {"labels": [one for one in config.labels or () if one not in unused]}
    if kept != config.system_prompt.rstrip("\n"):
        values["system_prompt"] = kept
    settings.change(workspace, values, "labels that no row has")
    return sorted(label for label in unused if label in kept)
