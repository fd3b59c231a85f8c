"""Values as lines of assay.yaml, which a person reads and changes."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from textwrap import wrap
from typing import Any

from assay.config import Columns
from assay.config.yaml_text import UNREADABLE
from assay.config.yaml_text import read as read_yaml
from assay.data.propose import Proposal


def flow(value: Any) -> str:
    """A value on one line; JSON is YAML, save for bare words, which read better."""
    if isinstance(value, str) and _WORD.fullmatch(value) and value.lower() not in _YAML_WORDS:
        with suppress(*UNREADABLE):
            if read_yaml(value, simple=True) == value:  # 1e5, 0x1F and 1_0 are numbers
                return value
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_YAML_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
"""Of YAML 1.1, too, which other readers follow."""
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What does not stand for itself between YAML's quotation marks, beside what JSON escapes."""


def block(key: str, text: str) -> list[str]:
    """Lines that give a text of many lines, as it is where YAML lets it be."""
    lines = [f"{key}: |-", *(f"  {line}" if line else "" for line in text.split("\n"))]
    with suppress(*UNREADABLE):  # a sign that cannot stand for itself
        if text and read_yaml("\n".join(lines), simple=True) == {key: text}:
            return lines
    return [f"{key}: {flow(text)}" if text else f'{key}: ""']


def cost_lines(machine_hour_usd: float | None, hours: float) -> list[str]:
    """The section on costs, the first lines of it, which every project has."""
    kept_on = flow(int(hours) if hours == int(hours) else hours)
    return [
        "costs:  # null where you do not know; unknown is never counted as 0",
        f"  machine_hour_usd: {flow(machine_hour_usd)}  # a machine like the one that measures",
        f"  machine_hours_per_month: {kept_on}  # that it is kept on; 0 if it is there anyway",
        "  person_hour_usd: 60  # of whoever writes prompts and checks examples",
        "  prompt_hours: 2  # writing and trying a prompt, once",
    ]


def grader_lines(proposal: Proposal) -> list[str]:
    """The graders, and why one decides where that is not plain."""
    lines = []
    for grader in proposal.graders:
        lines.append(f"  - name: {grader.name}")
        if grader.settings:
            lines.append(f"    settings: {flow(grader.settings)}")
    if proposal.primary == "contains":
        why = proposal.reasons[-1]
        lines += [f"# {line}" for line in wrap(f"{why[:1].upper()}{why[1:]}.", 96)]
    return lines


def column_lines(columns: Columns | None) -> list[str]:
    """Which columns are what; nothing of files that say so themselves."""
    if columns is None:
        return []
    return [
        "  columns:",
        f"    input: {flow(columns.input)}",
        f"    output: {flow(columns.output)}",
        f"    id: {flow(columns.id)}",
        f"    group: {flow(columns.group)}  # rows with one value here stay together",
        *([f"    document: {flow(columns.document)}"] if columns.document else []),
        *([f"    numbers: {flow(columns.numbers)}  # not text"] if columns.numbers else []),
    ]
