"""Options of `assay compare` on whole dialogues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from assay.config.examples import Rollout
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.project.project import Project

RolloutOption = Annotated[
    bool,
    typer.Option(
        "--rollout", help="Of a tools task: score whole dialogues, too, as `rollout` in assay.yaml."
    ),
]
ToolsOption = Annotated[
    str | None,
    typer.Option(
        help="With --rollout: Python file in the project's folder with a function for each tool. "
        "Needs --trust-code."
    ),
]


def set_rollout(opened: Project, rollout: bool, tools: str | None) -> None:
    """Let a comparison score whole dialogues as the options say.

    Raises:
        UsageError: there are no dialogues to go on with, or the tools are not for anything.
    """
    if not rollout:
        if tools is not None:
            raise UsageError("--tools is for whole dialogues.", fix="Add --rollout.")
        return
    if opened.config.task != "tools":
        raise UsageError(
            f"--rollout scores dialogues by their calls, and this task is {opened.config.task}.",
            fix="Leave it out, or set `task: tools` in assay.yaml.",
        )
    asked = (opened.config.rollout or Rollout()) if tools is None else Rollout(tools=tools)
    opened.config = opened.config.model_copy(update={"rollout": asked})
