"""What `assay rescue record` reads from its options, says before it asks, and prints at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from assay.cli.options import confirm, parse_names
from assay.cli.output import console, print_table
from assay.defaults import CONFIG_FILE
from assay.errors import UsageError
from assay.log_lines import printable
from assay.quantities import say_count

if TYPE_CHECKING:
    from assay.project.recording import RecordingChoices, RecordingDraft


def read_choices(
    folder: Path | None,
    data: list[Path] | None,
    input: str | None,
    part: list[str] | None,
    prompt: Path | None,
    max_new_tokens: int | None,
    logprobs: bool,
) -> RecordingChoices:
    """What is recorded, of the project in `folder`, or else in the current one if it is one.

    Raises:
        UsageError: there is no such part, or `--input` names no column.
    """
    from assay import project
    from assay.config import Columns
    from assay.project import recording

    opened = None
    if folder is not None or Path(CONFIG_FILE).exists():
        opened = project.open(folder or Path("."))
    columns = None
    if input is not None:  # an output is needed by the form, and not read
        names = parse_names("--input", input)
        columns = Columns(input=names, output=names)
    return recording.RecordingChoices(
        project=opened,
        data=data or (),
        parts=part or recording.PARTS,
        columns=columns,
        prompt=None if prompt is None else prompt.read_text(encoding="utf-8").strip(),
        max_new_tokens=max_new_tokens,
        logprobs=logprobs,
    )


def print_parts(draft: RecordingDraft) -> None:
    """What the recording will take, part by part in the order in which it is asked."""
    rows = [
        (
            *(one.part, one.rows, one.recorded, one.requests),
            *(one.prompt_tokens, one.completion_tokens),
            "not known" if one.usd is None else f"{one.usd:.4f}",
            "" if one.teaching is None else one.teaching.short,
            one.best_for,
        )
        for one in draft.parts
    ]
    columns = ("part", "rows", "recorded", "requests", "prompt tokens", "answer tokens", "USD")
    print_table((*columns, "brings a student", "best for"), rows, numbers=columns[1:])
    for one in draft.parts:
        if one.teaching is not None:
            console.print(escape(printable(f"{one.part}: {one.teaching.says}")), soft_wrap=True)


def terms(draft: RecordingDraft, most_usd: float | None) -> Iterator[str]:
    """Who is asked, for how much money and time, and which private data are sent; in sentences."""
    from assay.compare.report.wording import usd

    origin = draft.access.provider.origin
    yield f"{draft.model} at {origin} is asked in this order; answers go to {draft.file}."
    if draft.is_most:
        yield "How long answers are is not known yet: each is counted as long as is allowed."
    cost = "at a price that is not known" if draft.usd is None else f"for about {usd(draft.usd)}"
    rate = "as answers came so far" if draft.rate_is_observed else "a guess until answers come"
    within = f"about {say_count(max(1, round(draft.seconds / 60)), 'minute')} ({rate})"
    if draft.choices.batch:
        within = "batches that may take a day, at half the price of single requests"
    yield f"{say_count(draft.requests, 'request')} {cost}, in {within}."
    if draft.spent_usd or most_usd is not None:
        most = "" if most_usd is None else f" of at most {usd(most_usd)}"
        yield f"Spent so far: {usd(draft.spent_usd)}{most}."
    private = ", ".join(f"{what}: {count}" for what, count in sorted(draft.private.items()))
    yield f"Secrets and personal data found in these inputs: {private or 'none'}."
    if any(one.part == "holdout" and one.requests for one in draft.parts):
        yield (
            "The holdout's outputs are not read here. Its inputs are sent without them; that is "
            "logged, and is no opening."
        )


def agree(draft: RecordingDraft, most_usd: float | None, yes: bool) -> None:
    """Ask whether the inputs may be sent; who says no leaves the program.

    Raises:
        UsageError: there is no budget, or no terminal, and no `--yes`.
    """
    if yes:
        return
    if most_usd is None:
        raise UsageError(
            "there is no budget.",
            fix="Give --most-usd USD, or --yes to record everything without asking.",
        )
    unasked = UsageError(
        "without a terminal nobody can confirm this.", fix="To record without asking, give --yes."
    )
    confirm(f"Send them to {draft.access.provider.origin}?", unasked)


def print_recorded(report: dict[str, Any]) -> None:
    """How many answers there are, what they have cost, and which are missing and why."""
    from assay.compare.report.wording import usd

    cost = usd(report["usd"])
    if report["unpriced"]:
        cost += f", and {say_count(report['unpriced'], 'answer')} at a cost that is not known"
    recorded = say_count(report["recorded"], "answer")
    print(f"{recorded} recorded, {report['answers']} in all, for {cost}.")
    if report["cut"]:
        print(
            f"{say_count(report['cut'], 'was', 'were')} cut at the limit; a larger "
            "--max-new-tokens needs a new folder."
        )
    if report["refused"]:
        were = say_count(report["refused"], "input was", "inputs were")
        print(f"{were} refused by the model.")
    if report["left"]:
        missing = f"{say_count(report['left'], 'is', 'are')} missing: {report['left_because']}."
        console.print(escape(printable(missing)), soft_wrap=True)
    print(f"File: {report['file']}")
