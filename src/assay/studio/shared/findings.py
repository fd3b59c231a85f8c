"""What was found in a file of examples, in words for whoever has to mend it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from assay.config import Columns, join_names
from assay.data.checks import CheckReport, earlier_line
from assay.data.formats import openai_turns
from assay.data.problems import CODES, OF_THE_FILE, Problem, explain_row
from assay.errors import on_page
from assay.project.addition import Addition
from assay.project.start.from_file import FileFindings
from assay.studio import widgets as w

FORMATS = {
    "csv": "a table (CSV)",
    "tsv": "a table (TSV)",
    "xlsx": "an Excel workbook",
    "parquet": "a Parquet table",
    "openai-chat": "conversations (OpenAI's format)",
    "openai-turns": "conversations (OpenAI's format), each turn of the assistant a row",
    "json-objects": "JSON records",
    "jsonl-objects": "JSON records, one per line",
}
TASKS = {
    "label": "sort messages into labels",
    "json": "turn messages into records (JSON)",
    "text": "answer in free text",
    "tools": "call functions",
}
PERSONAL = ("secret", "card-number", "iban", "email", "phone")
REPEATED = "Identical to an earlier row: each would count twice in training."
SIMILAR = (
    "Nearly identical to an earlier row. They are kept in the same part of the split, so that no "
    "holdout answer leaks; nothing has to be done."
)
NOT_SEARCHED = (
    "Not searched for: names, postal addresses and dates of birth. Phone numbers without a country "
    "code are found only behind a word such as “phone” or “call”. E-mail addresses at example.com "
    "and the like count as made up."
)
SHOWN_PLACES = 6
SPACE = "␣"
_OVERLOOKED = re.compile(r"^\s+|\s+$|(?<=\s)\s+")
"""White space that a browser does not show."""
KINDS = {"error": ("Left out", "bad"), "warning": ("Check", "warn"), "notice": ("Note", "")}


def found_card(found: FileFindings, *, is_task_chosen: bool) -> None:
    """A card with the file in figures."""
    report = found.report
    assert report is not None
    with w.section(f"What is in {found.origin.name}"):
        with w.row("figures"):
            row_figures(report)
            personal = sum(report.counts.get(code, 0) for code in PERSONAL)
            w.figure(
                f"{personal:,}",
                "secrets and personal data",
                "Keys, card and bank numbers, e-mail addresses, phone numbers. They stay on this "
                "machine, but a model trained on them may repeat them.",
            )
        w.text(NOT_SEARCHED, "soft note")
        by_turns = report.format == openai_turns.NAME
        format = report.format if by_turns else found.origin.format or report.format
        line = f"The file was read as {FORMATS.get(format, format)}."
        if found.draft is not None:
            known = "The task that was chosen" if is_task_chosen else "The task seems to be"
            line += f" {known}: {TASKS[found.draft.proposal.task]}."
        w.text(line)
        # The column that names documents is found with them, not by the check.
        columns = report.columns if found.draft is None else found.draft.columns
        if columns is not None:
            w.text(describe_columns(found.fields, columns), "soft note")
        if found.unread:
            w.text(
                f"Not used: {join_names(found.unread)}. Whatever is said there, every answer "
                "counts as right.",
                "soft note",
            )
        if found.draft is not None:
            for reason in found.draft.proposal.reasons:
                w.sentence(on_page(f"{reason[:1].upper()}{reason[1:]}."), "soft note")
            for warning in found.draft.proposal.warnings:
                w.sentence(on_page(warning), "warn note")


def describe_columns(fields: Sequence[str], columns: Columns) -> str:
    """What each column of a file was taken for, and which are not used."""
    taken: dict[str, list[str | None]] = {
        "Input": [*columns.input],
        "Output": [*columns.output],
        "Id": [columns.id],
        "Group": [columns.group],
        "Document": [columns.document],
    }
    named = {use: [name for name in names if name] for use, names in taken.items()}
    used = {name for names in named.values() for name in names}
    parts = [f"{use}: {join_names(names)}" for use, names in named.items() if names]
    if columns.numbers:
        parts.append(f"Read as numbers: {join_names(columns.numbers)}")
    if unused := [name for name in fields if name not in used]:
        parts.append(f"Not used: {join_names(unused)}")
    return f"Columns. {'; '.join(parts)}."


def row_figures(report: CheckReport) -> None:
    """How many rows of a file can be used, cannot, or are like others; with what that means."""
    w.figure(f"{report.valid:,}", "usable " + ("example" if report.valid == 1 else "examples"))
    left_out = "row left out" if report.rejected == 1 else "rows left out"
    w.figure(f"{report.rejected:,}", left_out, "These rows have errors, listed below.")
    w.figure(f"{report.exact:,}", "repeated", REPEATED)
    w.figure(f"{report.near:,}", "similar", SIMILAR)


def problems_card(report: CheckReport) -> None:
    """Every kind of problem, with the rows where it stands."""
    if not report.counts:
        with w.card("tight"):
            w.text("No problems in the rows themselves.", "good")
        return
    places: dict[str, list[Problem]] = defaultdict(list)
    for problem in report.problems:
        places[problem.code].append(problem)
    order = {"error": 0, "warning": 1, "notice": 2}
    codes = sorted(report.counts, key=lambda code: (order[CODES[code][0]], -report.counts[code]))
    under = "Rows with an error are left out; all others are kept."
    if report.format in ("csv", "tsv"):
        under += (
            " Of a workbook, lines are the rows of its sheet; of a text file they are those of the "
            "text, and a cell with line breaks takes several."
        )
    with (
        w.section("What to look at", under),
        w.table("", "Problem", w.Number("Rows"), "Where", label="Problems in the file"),
    ):
        for code in codes:
            _problem(code, report.counts[code], places[code])


def _problem(code: str, count: int, places: list[Problem]) -> None:
    severity, meaning = CODES[code]
    first = places[0] if places else None
    with w.text("", tag="tr"):
        with w.text("", tag="td"):
            w.badge(*KINDS[severity])
        with w.text("", tag="td"):
            w.sentence(meaning[:1].upper() + meaning[1:] + ".", tag="div")
            if first is not None:
                w.sentence(on_page(first.fix), "soft note", "div")
        w.text("all" if code in OF_THE_FILE else f"{count:,}", "number", "td")
        with w.text("", tag="td"):
            w.text(list_places(code, count, places), tag="div")
            if code in OF_THE_FILE:
                for one in places[:SHOWN_PLACES]:
                    w.sentence(one.message, "soft note", "div")
            elif first is not None and earlier_line(code, first.message) is None:
                which = f"Line {first.line}: " if count > 1 else ""
                w.sentence(f"{which}{first.message}", "soft note", "div")


def list_places(code: str, count: int, places: Sequence[Problem]) -> str:
    """The lines that a problem stands in, the first of them; of repeated rows each with the line
    that it repeats."""
    if not places or code in OF_THE_FILE:
        return "the whole file"
    named = []
    for problem in places[:SHOWN_PLACES]:
        original = earlier_line(code, problem.message)
        named.append(f"{problem.line}" + (f" (like {original})" if original else ""))
    noun = "line" if count == 1 else "lines"
    return f"{noun} {', '.join(named)}{' …' if count > SHOWN_PLACES else ''}"


def show_spaces(label: str) -> str:
    """A label with a sign for white space that would not be seen."""
    return _OVERLOOKED.sub(lambda found: SPACE * len(found[0]), label)


def tell_addition(addition: Addition) -> None:
    """What became of rows that were to be added, and why some of them were not."""
    w.text(addition.sentence)
    if addition.private or addition.contradicting:
        w.text(
            "See Data: “With problem” lists such rows, but for locked ones and those in "
            "quarantine.",
            "warn note",
        )
    for sentence in addition.spelled_otherwise:
        w.sentence(sentence, "warn note breaks")
    for row in addition.rejected_rows:
        whys = explain_row((one["message"], on_page(one["fix"])) for one in row["problems"])
        w.sentence(f"Line {row['line']}: {whys}", "note breaks")
    if addition.untold:
        w.sentence(on_page(addition.untold), "note")
