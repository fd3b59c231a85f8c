"""The one place that says whether an answer can be read as what the task asks for.

It is strict on purpose: an answer is read as the program behind the endpoint would read it. JSON
in a Markdown fence or after a polite sentence is not JSON, and a label inside a sentence is not a
label. Whoever wants to be lenient changes the agent, not the ruler.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assay import json_reader
from assay.config import TaskKind
from assay.example import canonical_json

DEEPEST = 64  # levels of nesting; readers and validators that recurse stay safe below it
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“", "‘": "’", "«": "»"}


@dataclass(frozen=True, slots=True)
class ParsedValue:
    """An answer that could be read; wrapped because JSON's `null` is a value too."""

    value: Any


def parse_answer(
    task: TaskKind, text: str, labels: Sequence[str] | None = None
) -> ParsedValue | None:
    """What `text` says as an answer of this kind of task; None when it cannot be read.

    label: one of `labels` (any single line when there are none); json: exactly one JSON value;
    text: anything but white space.
    """
    if task == "json":
        return parse_json(text)
    if task == "label":
        label = parse_label(text, labels)
        return None if label is None else ParsedValue(label)
    return ParsedValue(text.strip()) if text.strip() else None


def parse_label(text: str, labels: Sequence[str] | None) -> str | None:
    """The label that `text` is, spelled as in `labels`; None when it is none of them.

    White space around it (and around the labels), one pair of quotes and a final period are not
    counted, nor is the case, unless two labels differ by nothing else.
    """
    bare = text.strip()
    if labels is None:
        return bare if bare and "\n" not in bare else None
    forms = [bare, _peeled(bare)]
    # A file may write a space behind its comma: " refund" is told by "refund".
    spelled = {label.strip(): label for label in reversed(labels)}
    for form in forms:
        if form in spelled:
            return spelled[form]
    folded = {form.casefold() for form in forms}
    found = [label for bare, label in spelled.items() if bare.casefold() in folded]
    return found[0] if len(found) == 1 else None


def _peeled(text: str) -> str:
    """`text` without one pair of quotes and one final period, whichever is outside."""
    text = text.removesuffix(".").rstrip()
    if len(text) >= 2 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text.removesuffix(".").rstrip()


def parse_json(text: str) -> ParsedValue | None:
    """The one JSON value (RFC 8259) that `text` is; None otherwise.

    Refused besides what is no JSON: NaN and Infinity, and nesting below 64 levels.
    """
    try:
        value = json_reader.read(text, parse_constant=_refuse)
    except ValueError:
        return None
    return ParsedValue(value) if _is_shallow(value) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return True
    return False


def spelling(value: Any) -> str:
    """One text for all equal JSON values: key order does not matter, 1.0 is 1, true is not 1."""
    return canonical_json(_plain_numbers(value))


def _plain_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_numbers(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(child) for child in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def fold(text: str) -> str:
    """NFKC, case folded, white space collapsed: for comparisons that forgive spelling."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
