"""Prompts of a promptfoo configuration, each as a system prompt and the turns behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from assay import json_reader
from assay.project.promptfoo.files import (
    PREFIX,
    PROGRAMS,
    TEXTS,
    TREES,
    Node,
    SuiteFolder,
    suffix_of,
)
from assay.project.promptfoo.templates import fault_of, first_place
from assay.project.promptfoo.translation import Listed

_ELSEWHERE = re.compile(r"(?:exec|langfuse|portkey|helicone|https?|package):", re.IGNORECASE)
_ONE_LINE = re.compile(r"(.*[:.?!])\s+(\S?\{\{.*)", re.DOTALL)
_ENDINGS = PROGRAMS | TREES | (TEXTS - {""}) | {".csv", ".jsonl"}
_RULE = re.compile(r"^---[ \t]*$", re.MULTILINE)
_LONGEST_NAME = 255
_SYSTEM = ("system", "developer")
Turn = tuple[str, str]
"""Role and template."""


@dataclass(frozen=True, slots=True)
class SuitePrompt:
    """A prompt.

    Attributes:
        label: how the configuration calls it; "" where it does not.
        system: template of its system prompt; "" where it has none.
        turns: what follows, the last being the user's.
    """

    label: str
    system: str
    turns: tuple[Turn, ...]
    node: Node


def read_prompts(node: Node, folder: SuiteFolder, listed: Listed) -> list[SuitePrompt]:
    """The prompts that can be read; the others are listed."""
    if node.value is None:  # as promptfoo without any
        return [SuitePrompt("", "", (("user", "{{prompt}}"),), node)]
    found = []
    for entry in node.children():
        label = ""
        if isinstance(entry.value, dict):
            given = entry.value.get("label")
            label = given if isinstance(given, str) else ""
            entry = next(
                (entry.child(key) for key in ("raw", "id", "prompt") if key in entry.value), entry
            )
        for text, name, origin in _texts(entry, folder, listed):
            if (prompt := _prompt(text, label or name, origin, listed)) is not None:
                found.append(prompt)
    return found


def _texts(entry: Node, folder: SuiteFolder, listed: Listed) -> Iterator[tuple[Any, str, Node]]:
    """The texts, or lists of turns, that an entry names, each with its file's label and place."""
    value = entry.value
    if not isinstance(value, str):
        listed(entry.unsupported(str(value), "it is neither a text nor the name of a file"))
        return
    if _ELSEWHERE.match(value):
        listed(entry.unsupported(value, "prompts of programs and other services are not fetched"))
        return
    if not _is_path(value, folder):
        yield value, "", entry
        return
    name = value.removeprefix(PREFIX)
    if suffix_of(name) in PROGRAMS:
        listed(entry.unsupported(value, "code of a configuration is never run"))
        return
    for path in folder.find(entry, f"{name.rstrip('/')}/*" if _is_folder(name, folder) else name):
        shown = path.stem
        if path.suffix in TREES:
            tree = folder.tree(path)
            yield tree.value, shown, tree
        elif path.suffix == ".csv":
            for record in folder.records(path):
                yield record.value.get("prompt"), record.value.get("label", ""), record
        elif path.suffix in TEXTS:
            text = folder.text(path)
            parts = _RULE.split(text) if path.suffix == ".txt" else [text]
            node = Node(None, folder.show(path))
            for number, part in enumerate(parts, 1):
                if part.strip():
                    label = shown if len(parts) == 1 else f"{shown}-{number}"
                    yield part.strip(), label, node
        else:
            listed(entry.unsupported(value, f"files of the kind {path.suffix} are not read"))


def _is_path(text: str, folder: SuiteFolder) -> bool:
    """Whether promptfoo takes a text for a path: a line with a file's ending, `*` or `/`."""
    if text.startswith(PREFIX):
        return True
    if "\n" in text or "{{" in text or len(text) > _LONGEST_NAME:
        return False
    if _is_folder(text, folder) or suffix_of(text) in _ENDINGS:
        return True
    return not any(map(str.isspace, text)) and ("*" in text or "/" in text)


def _is_folder(name: str, folder: SuiteFolder) -> bool:
    try:
        return (folder.root / name).is_dir()
    except (OSError, ValueError):  # no name of a file
        return False


def _prompt(value: Any, label: str, node: Node, listed: Listed) -> SuitePrompt | None:
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):  # a text that begins so
            value = json_reader.read(value)
    found = _divided(value) if isinstance(value, str) else _chat(value)
    if found is None:
        why = "it is no text and no list of turns with texts"
        listed(node.unsupported(label or "prompt", why))
        return None
    system, turns = found
    for text in (system, *(text for _, text in turns)):
        if fault := fault_of(text):
            listed(node.unsupported(label or text[:80], fault))
            return None
    return SuitePrompt(label, system, turns, node)


def _divided(text: str) -> tuple[str, tuple[Turn, ...]]:
    """What stands before the first variable is the system prompt, as far as it is whole: lines, or
    what ends with a colon or the end of a sentence."""
    at = first_place(text)
    if at is None:
        return "", (("user", text.strip()),)
    start = text.rfind("\n", 0, at) + 1
    system, rest = text[:start].strip(), text[start:].strip()
    if not system and (found := _ONE_LINE.fullmatch(text)) and "{{" not in found[1]:
        system, rest = found[1].strip(), found[2].strip()
    return system, (("user", rest),)


def _chat(value: Any) -> tuple[str, tuple[Turn, ...]] | None:
    if not isinstance(value, list):
        return None
    turns: list[Turn] = []
    for turn in value:
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            return None
        if turn.get("role") not in (*_SYSTEM, "user", "assistant"):
            return None
        turns.append((turn["role"], turn["content"]))
    first = next((n for n, (role, _) in enumerate(turns) if role not in _SYSTEM), len(turns))
    rest = tuple(turns[first:])
    if not rest or rest[-1][0] != "user" or any(role in _SYSTEM for role, _ in rest):
        return None
    return "\n\n".join(text for _, text in turns[:first]), rest
