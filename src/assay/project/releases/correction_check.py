"""Whether a corrected answer can become an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.config import Config
from assay.data.calls import turn_of
from assay.data.contents import Rules, quote
from assay.data.formats.record import RecordProblems, closest
from assay.errors import UsageError
from assay.example import Example, Message
from assay.project.workspace import Workspace


class CorrectionError(UsageError):
    """A corrected answer is none of the project's labels, no record of its form, or a call that
    cannot be read."""


def check_correction(
    workspace: Workspace, answer: str, tools: Sequence[dict[str, Any]] = ()
) -> None:
    """See that a corrected answer can become an example of the folder's project.

    Args:
        tools: that the trace offers; a call of them stands in `<tool_call>` marks.

    Raises:
        CorrectionError: it is none of the project's labels, no record of its form, or a call that
            cannot be read or does not fit the tools.
    """
    config = workspace.config
    if config is not None and config.task in ("json", "tools"):
        _check_form(config, answer, tools)
    if config is None or config.labels is None or answer in config.labels:
        return
    close = closest(answer, config.labels)
    raise CorrectionError(
        f"{quote(answer)} is not one of the {len(config.labels)} labels.",
        fix=f"Did you mean {close!r}?" if close else "Use one of the labels in Settings.",
    )


def _check_form(config: Config, answer: str, tools: Sequence[dict[str, Any]]) -> None:
    asked = (Message("user", "a message"), turn_of(answer, tools))
    found = RecordProblems("")
    example = Example("corrected", asked, tools=tuple(tools))
    Rules(task=config.task, schema=config.output_schema).judge(example, found)
    for one in found.problems:
        if one.severity == "error":
            is_form = one.code == "schema-mismatch"
            raise CorrectionError(one.message, fix="Correct the answer." if is_form else one.fix)
