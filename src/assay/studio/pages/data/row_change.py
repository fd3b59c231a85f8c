"""A row of the file is changed or taken out, and looked at again."""

from __future__ import annotations

from typing import Any

from assay.progress import Progress
from assay.project import row_edits, row_forecast, rows
from assay.studio.session import PageContext, action

_NOW_LOCKED = (
    "The row was saved, and is not shown any more: it is now one of the locked examples, or much "
    "like one. Until a comparison takes the holdout to open it, each change draws anew which "
    "examples are locked."
)


@action("editor")
def change_row(
    context: PageContext, line: int, record: dict[str, Any] | None, before: Any, progress: Progress
) -> str | None:
    """Change a row of the file, or take it out; what a person has to know of it as it is now."""
    converted = row_edits.change(context.workspace, line, record, before, progress)
    advice = None if record is None else _look_again(context, line, progress)
    if converted is None:
        return advice
    return f"{advice or 'The row was saved.'} {converted.describe('The file')}"


def _look_again(context: PageContext, line: int, progress: Progress) -> str | None:
    found = rows.open_visible_rows(context.workspace, progress)
    if errors := found.errors_of(line):
        return f"The row was saved, but it is not used: {errors[0]['message']}"
    if not found.is_seen(line):
        return _NOW_LOCKED
    problems = found.problems_of(line)
    spelled = [one for one in problems if one["code"] == "other-spelling"]
    odd = [f"{one['message']} {one['fix']}" for one in spelled or problems[:1]]
    if (other := row_forecast.warn_of_other_kinds(context.workspace, found, line)) is not None:
        odd.append(other)
    return f"The row was saved, but look at it again: {' '.join(odd)}" if odd else None
