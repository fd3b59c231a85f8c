"""Whether a corrected answer can become an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.chat.tool_text import name_of
from assay.close_names import find_close_name
from assay.config import Config
from assay.data.calls import turn_of
from assay.data.contents import Rules, quote
from assay.data.formats.record import RecordProblems
from assay.errors import DataError
from assay.example import CALL_OPEN, Example, Message
from assay.project.workspace import Workspace
from assay.release.traces import correction


class CorrectionError(DataError):
    """A corrected answer is none of the project's labels, no record of its form, or a call that
    cannot be read."""


def check_correction(
    workspace: Workspace, answer: str, tools: Sequence[dict[str, Any]] = ()
) -> None:
    """See that a corrected answer can become an example of the folder's project, also with personal
    data masked, as it is kept.

    Args:
        tools: that the trace offers; a call of them stands in `<tool_call>` marks.

    Raises:
        CorrectionError: it is none of the project's labels, no record of its form, or a call that
            cannot be read or does not fit the tools.
        UsageError: it is empty or too long.
    """
    kept = correction(answer)
    _check(workspace.config, answer, tools)
    if kept == answer:
        return
    try:
        _check(workspace.config, kept, tools)
    except CorrectionError as error:
        raise CorrectionError(
            "secrets and personal data in an answer are masked, and then it cannot be used: "
            f"{error.what}",
            fix="Write something else in their place.",
        ) from None


def _check(config: Config | None, answer: str, tools: Sequence[dict[str, Any]]) -> None:
    if config is not None and config.task in ("json", "tools"):
        _check_form(config, answer, tools)
    if config is None or config.labels is None or answer in config.labels:
        return
    close = find_close_name(answer, config.labels)
    raise CorrectionError(
        f"{quote(answer)} is not one of the {len(config.labels)} labels.",
        fix=f"Did you mean {close!r}?" if close else "Use one of the labels in Settings.",
    )


def _check_form(config: Config, answer: str, tools: Sequence[dict[str, Any]]) -> None:
    if config.task == "tools" and not tools and CALL_OPEN not in answer:
        return  # nothing can be called, so that only words can be right
    asked = (Message("user", "a message"), turn_of(answer, tools))
    found = RecordProblems("")
    example = Example("corrected", asked, tools=tuple(tools))
    Rules(task=config.task, schema=config.output_schema).judge(example, found)
    fixes = {
        "schema-mismatch": "Correct the answer.",
        "bad-tool-call": f"Name one of the row's tools ({', '.join(map(name_of, tools))}), and "
        "write its arguments as a JSON object.",
        "arguments-mismatch": "Correct the arguments.",
    }
    for one in found.problems:
        if one.severity == "error":
            raise CorrectionError(one.message, fix=fixes.get(one.code, one.fix))
