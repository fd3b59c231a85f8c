"""Labels of the settings that no row has any more, such as a misspelt one whose last row was
corrected: the system prompt still offers them. Some mean that: rows are still to come."""

from __future__ import annotations

from typing import Any

from assay.config import Config
from assay.data.contents import quote_label
from assay.data.split import has_split, read_manifest
from assay.errors import DataError, HoldoutError
from assay.project import settings
from assay.project.workspace import Workspace, project_of

MOST_NAMED = 5


def find_unused_labels(workspace: Workspace, edited: Config | None = None) -> list[str]:
    """The labels of the settings that no row of the present split has; none where it has a part of
    the rows alone, or there is no split.

    Args:
        edited: settings that are not saved yet; None: those that are. The split tells nothing of
            another task or other data.
    """
    project = workspace.project
    if project is None:
        return []
    config = edited or project.config
    data = config.data
    if config.task != "label" or config.labels is None:
        return []
    if (config.task, data) != (project.config.task, project.config.data):
        return []
    if (data.train_rows, data.holdout_rows) != (None, None) or not has_split(project.split_folder):
        return []
    try:
        classes = read_manifest(project.split_folder).classes
    except (DataError, HoldoutError):
        return []
    if not classes:  # the split is of when the task was another
        return []
    abstain = None if config.knowledge is None else config.knowledge.abstain
    return [one for one in config.labels if one != abstain and not any(classes.get(one, ()))]


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
    """Take them out of the settings, see `settings_without`.

    Returns:
        Those that the system prompt still speaks of otherwise.

    Raises:
        AssayError: as `assay.project.settings.save`.
    """
    config = project_of(workspace).config
    values, mentioned = settings_without(config, find_unused_labels(workspace))
    settings.change(workspace, values, "labels that no row has")
    return mentioned


def settings_without(config: Config, labels: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Settings without labels: without them in the system prompt, too, where one is a line of a
    list.

    Returns:
        The settings that change, by their paths; the labels that the system prompt still speaks
        of otherwise, sorted.
    """
    out, lines = set(labels), config.system_prompt.splitlines()
    kept = "\n".join(line for line in lines if line.strip().removeprefix("- ") not in out)
    values: dict[str, Any] = {"labels": [one for one in config.labels or () if one not in out]}
    if kept != config.system_prompt.rstrip("\n"):
        values["system_prompt"] = kept
    return values, sorted(label for label in labels if label in kept)
