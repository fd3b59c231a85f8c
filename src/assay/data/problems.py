"""What can be wrong with a row: one record for every finding, one table of every code.

A problem always says where it is, what was found and what to do. `CODES` is the single list of
codes; docs/data.md and docs/reference are checked against it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from assay.quantities import say_count

Severity = Literal["error", "warning", "notice"]

CODES: dict[str, tuple[Severity, str]] = {
    # Bytes and text
    "invalid-byte": ("error", "bytes that do not belong to the encoding of the file"),
    "not-in-encoding": ("error", "a character that the encoding of the project's file lacks"),
    "nul-byte": ("error", "a NUL byte in the text"),
    "lone-surrogate": ("error", r"half of a character (an unpaired \ud800 to \udfff escape)"),
    "encoding-guessed": (
        "warning",
        "how letters are stored (the encoding) was guessed",
    ),
    "field-too-large": ("error", "one field is larger than 10 MB"),
    # Records
    "invalid-json": ("error", "the record is not JSON"),
    "not-an-object": ("error", "the record is JSON, but not an object with fields"),
    "ragged-row": ("error", "more or fewer cells than the header has columns"),
    "broken-quotes": ("error", "a quoted cell that is not closed, or goes on after its quote"),
    "formula-error": ("error", "a column that is used holds a spreadsheet's error, such as #REF!"),
    "several-sheets": ("notice", "the workbook has further sheets, which were not read"),
    "blank-column": ("notice", "a column without a name; it cannot be used"),
    "duplicate-column": ("notice", "two columns share a name; neither is used"),
    # Fields
    "unknown-shape": ("error", "the record does not have the fields of the file's format"),
    "missing-field": ("error", "a field that the format or the column mapping needs is missing"),
    "wrong-type": (
        "error",
        "the value of a field does not have the type that the format or `numbers` requires",
    ),
    # Conversations
    "no-messages": ("error", "the conversation has no turns"),
    "no-assistant-turn": ("error", "no assistant turn, so nothing to learn"),
    "does-not-end-with-assistant": ("error", "the last turn is not the assistant's"),
    "unknown-role": ("error", "a role other than system, developer, user, assistant, tool"),
    "roles-out-of-order": ("error", "a turn is at a place where its role is not allowed"),
    "roles-not-alternating": (
        "warning",
        "two turns of one role in a row, or an assistant turn first",
    ),
    "content-not-text": ("error", "the content of a turn is neither text nor a list of text parts"),
    "unsupported-content": ("error", "images, audio or files in a turn; Assay reads text"),
    "reasoning-left-out": ("notice", "reasoning parts of a turn, which are not part of the answer"),
    "bad-weight": ("error", "a weight that is not 0 or 1"),
    "nothing-trained": (
        "error",
        "every assistant turn has weight 0 or, in a whole dialogue, opens it",
    ),
    "target-not-trained": ("warning", "the last turn, which is measured, has weight 0"),
    "dialogue-too-large": ("error", "a dialogue whose rows together take more than 64 MB"),
    # Tools
    "bad-tools": ("error", "the tool definitions cannot be read"),
    "bad-tool-call": (
        "error",
        "a tool call without a function name or not an object; in the target, one written as text",
    ),
    "arguments-not-json": (
        "error",
        "the arguments of a tool call are not a string with a JSON object",
    ),
    "unmatched-tool-turn": ("error", "a tool turn that does not answer an earlier call"),
    "unanswered-tool-call": ("warning", "a tool call without a tool turn that answers it"),
    "undeclared-tool": ("warning", "a call of a tool that is not defined"),
    "no-tools": ("error", "a row of a tools task that offers no tools"),
    "unknown-function": ("error", "a call of a function that is not in the row's tools"),
    "arguments-mismatch": ("error", "the arguments of a call do not fit the function's schema"),
    "bad-possible": ("error", "`possible` does not fit the calls of the target"),
    "bad-assertions": ("error", "`assertions` cannot be checked"),
    # Preferences
    "same-answers": ("warning", "the preferred and the other answer are the same"),
    # Contents
    "empty-input": ("error", "there is no text to answer"),
    "empty-output": ("error", "there is no answer to learn"),
    "duplicate-id": ("error", "an id that an earlier row already uses"),
    "placeholder": ("warning", "a placeholder such as {{name}} was not filled in"),
    "too-long": ("error", "more tokens than the model can read"),
    "prompt-too-long": ("error", "the project's system prompt leaves no room for an input"),
    "cannot-render": ("error", "the model's chat template refuses the conversation"),
    "unknown-label": ("error", "an output that is not one of the labels"),
    "output-not-json": ("error", "the output is not a record written as JSON"),
    "schema-mismatch": ("error", "the output does not match the JSON Schema"),
    # Secrets and personal data; the value itself is never printed
    "secret": ("warning", "a key, token or password"),
    "card-number": ("warning", "the number of a payment card (scheme and Luhn digit match)"),
    "iban": ("warning", "a bank account (IBAN; length and check digits match)"),
    "email": ("warning", "an e-mail address"),
    "phone": ("warning", "a phone number"),
    # Rows against one another
    "duplicate": ("warning", "input and output are the same as in an earlier row"),
    "near-duplicate": ("notice", "an input that is almost the same as in an earlier row"),
    "contradiction": ("warning", "the input of an earlier row with a different output"),
    "several-outputs": (
        "notice",
        "the input of an earlier row with a different output, in a text task: both may be right",
    ),
    "other-spelling": (
        "warning",
        "a label, or a value of a field with few of them, that most rows spell otherwise",
    ),
    "lone-label": (
        "warning",
        "the only row of its label; it cannot be used both to train and to measure",
    ),
    "near-search-limited": ("notice", "too many rows share one template to compare all of them"),
    # The file as a whole
    "no-rows": ("error", "no row can be used"),
    "few-rows": ("warning", "so few rows that only large differences can be detected"),
    "one-class": ("error", "a label task in which every output is the same"),
    "rare-class": (
        "warning",
        "labels with too few rows to be learned or measured",
    ),
    "label-variants": (
        "warning",
        "labels that differ only in case, punctuation, white space, ü for ue, or yes for true",
    ),
}

_CAUSES_TOLD = 3
OF_THE_FILE = frozenset(
    (
        "no-rows",
        "few-rows",
        "one-class",
        "rare-class",
        "label-variants",
        "near-search-limited",
        "several-sheets",
    )
)
"""Codes of what is true of all rows together: the line of such a problem says nothing."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    Attributes:
        file: the file as the user named it.
        line: first line of the record, counted from 1 (a row number in Parquet and Excel).
        field: the field or column, or a path such as `messages[2].content`; None for the row.
        code: kebab-case; a key of `CODES`.
        severity: an error rejects the row; a warning and a notice keep it.
        message: what was found, as a sentence.
        fix: what to do, as a sentence.
    """

    file: str
    line: int
    field: str | None
    code: str
    severity: Severity
    message: str
    fix: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def describe_repeated(counts: Mapping[str, int], near: int) -> str:
    """How many rows repeat the input of an earlier row, as a sentence: outputs are told apart, not
    counted apart.

    Args:
        counts: how often each code was found.
        near: rows whose input is nearly that of an earlier row.
    """
    other = counts.get("contradiction", 0) + counts.get("several-outputs", 0)
    same = counts.get("duplicate", 0) + other
    which = "" if other == same else f"{other:,} of them "
    with_other = f" ({which}with another output)" if other else ""
    rows_have = say_count(same, "row has", "rows have")
    return f"{rows_have} the input of an earlier row{with_other}, {near:,} nearly."


def name_causes(counts: Mapping[str, int]) -> str:
    """What rejects rows, the most frequent causes first; `counts` is of problems, by code."""
    causes = [
        f"{CODES[code][1]} ({count:,})"
        for code, count in Counter(counts).most_common()
        if CODES[code][0] == "error" and code not in OF_THE_FILE
    ]
    more = len(causes) - _CAUSES_TOLD
    told = [say_count(more, "other cause")] if more > 0 else []
    return "; ".join([*causes[:_CAUSES_TOLD], *told])


def problem(
    code: str, file: str, line: int, message: str, fix: str, *, field: str | None = None
) -> Problem:
    """A problem with the severity that `CODES` gives its code (KeyError: the code is not there)."""
    return Problem(file, line, field, code, CODES[code][0], message, fix)


def explain_row(problems: Iterable[tuple[str, str]]) -> str:
    """What is wrong with one row, as sentences; what to do is said once.

    Args:
        problems: message and fix of each.
    """
    messages: dict[str, list[str]] = {}
    for message, fix in problems:
        messages.setdefault(fix, []).append(message.removesuffix("."))
    return " ".join(f"{'; '.join(found)}. {fix}" for fix, found in messages.items())


def escape_surrogates(text: str) -> str:
    """The text with `\\udcf6` and the like for broken bytes and halves of characters, which a
    rejected row may hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def json_line(value: Any) -> str:
    """A value as a line of JSON in UTF-8, which read again gives the same value."""
    return escape_surrogates(json.dumps(value, ensure_ascii=False, default=str)) + "\n"
