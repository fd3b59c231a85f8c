"""YAML that people edit: every problem has its line, and a change leaves all else as it was.

tree, problems = tree_of(text, "a configuration")
text = edit(text, {"data.split.holdout": 0.3})     # comments and order stay
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, MarkedYAMLError, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import LiteralScalarString
from ruamel.yaml.tokens import (
    AliasToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    CommentToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
)
from ruamel.yaml.util import load_yaml_guess_indent

from assay.config.text_merge import merge
from assay.errors import ConfigError, UsageError

LONGEST = 250_000
"""Characters of a text that is looked at: reading takes up to 20 µs for each."""
MOST_DEPTH = 60
"""Lists and mappings in each other: reading takes the square of it, and more."""
WIDTH = 1 << 20
"""Lines are never wrapped."""

UNREADABLE = (YAMLError, RecursionError, ValueError)
"""What reading a text raises: 2024-13-45 looks like a date and is none, a ValueError."""
_LITERAL = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]*")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a text that keeps it from being used.

    Attributes:
        field: the setting, e.g. `nearest.k`; None where the text is no YAML at all.
        line, column: where it stands, from 1; None where something is missing.
    """

    message: str
    field: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.field + ': ' if self.field else ''}{self.message}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def problem_at(text: str, field: str, message: str) -> Problem:
    """A problem of a setting (`graders.0.name`) of a text that can be read, with its place."""
    tree, _ = tree_of(text, None)
    parts = (int(part) if part.isdecimal() else part for part in field.split("."))
    return locate(tree, tuple(parts), message)


def edit(text: str, values: Mapping[str, Any]) -> str:
    """A text with settings changed or added (`nearest.k` is a setting too), comments and all.

    Raises:
        ConfigError: the text is no YAML, or is written in a way that cannot be edited.
        UsageError: a setting lies in one that holds no others.
    """
    tree, problems = tree_of(text, "a mapping of settings")
    if problems:
        raise ConfigError(str(problems[0]), fix="Correct the text first.")
    wanted, yaml = plain(tree, tree, (), []), _yaml_like(text, tree)
    unchanged = _dump(yaml, tree)
    for path, value in values.items():
        before = copy.deepcopy(wanted)
        _put(wanted, path, value)
        if wanted != before:  # else it stays as it is spelled: 1e-3 is 0.001
            _put(tree, path, block(value))
    changed = _dump(yaml, tree)
    if len(changed) > LONGEST:
        raise ConfigError(
            f"with this change the text has {len(changed):,} characters; at most {LONGEST:,} are "
            "read.",
            fix=f"Shorten {', '.join(values)}.",
        )
    for made in (merge(text, unchanged, changed), changed):
        again, broken = tree_of(made, "a mapping of settings")
        if not broken and plain(again, again, (), []) == wanted:
            return made
    raise ConfigError(
        "this text cannot be changed automatically without rewriting it.",
        fix=f"Edit the text by hand: {', '.join(map(_stated, values, values.values()))}.",
    )


def _yaml_like(text: str, tree: Any) -> YAML:
    """What writes a text as it is indented, as far as it is indented in one way."""
    yaml = _yaml()
    _, indent, offset = load_yaml_guess_indent(text)
    if indent:
        # What was guessed is how far a list's items stand in; a section tells of a mapping's lines.
        sections = (part for part in tree.values() if isinstance(part, CommentedMap))
        mapping = next((part.lc.col for part in sections if _is_block(part)), 2)
        yaml.indent(mapping=mapping, sequence=max(indent, (offset or 0) + 2), offset=offset or 0)
    return yaml


def _dump(yaml: YAML, tree: Any) -> str:
    out = StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _stated(path: str, value: Any) -> str:
    return f"{path}: {value}" if isinstance(value, int | float) else path


class LimitError(MarkedYAMLError):
    """A text that is not read: too long, too deep, or with references."""


def read(text: str, *, simple: bool = False) -> Any:
    """The one way to read YAML: what a text says, with its places and comments.

    Args:
        simple: as plain values, without places.

    Raises:
        One of `UNREADABLE`; `LimitError` before anything is read.
    """
    if len(text) > LONGEST:
        raise LimitError(problem=f"the text has more than {LONGEST} characters")
    depth = 0
    for token in YAML().scan(text):
        if isinstance(token, AliasToken):  # a few of them can stand for billions of values
            message = "references (*) are not supported; write the value out"
            raise LimitError(problem=message, problem_mark=token.start_mark)
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MOST_DEPTH:
            message = f"values are nested too deep (more than {MOST_DEPTH} levels)"
            raise LimitError(problem=message, problem_mark=token.start_mark)
    return YAML(typ="safe", pure=True).load(text) if simple else _yaml().load(text)


_OPENING = (
    FlowSequenceStartToken,
    FlowMappingStartToken,
    BlockSequenceStartToken,
    BlockMappingStartToken,
)
_CLOSING = (FlowSequenceEndToken, FlowMappingEndToken, BlockEndToken)


def tree_of(text: str, kind: str | None) -> tuple[Any, list[Problem]]:
    """What ruamel reads, with its places; or the problem that keeps it from being read.

    Args:
        kind: what the text should be ("an agent"); None: any value will do.
    """
    try:
        tree = read(text)
    except UNREADABLE as error:
        return None, [unreadable(error)]
    if kind is not None and not isinstance(tree, dict):
        return None, [
            Problem(f"the text is not {kind} (it has no `key: value` lines).", None, 1, 1)
        ]
    return tree, []


def unreadable(error: Exception) -> Problem:
    """What one of `UNREADABLE` says, and where."""
    if isinstance(error, RecursionError):
        return Problem("values are nested too deep.")
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).partition("\n")[0]
    if getattr(error, "context", None) == "while scanning a quoted scalar":  # told where it ends
        mark, what = getattr(error, "context_mark", None), "this quotation mark is never closed"
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    message = f"{what}." if isinstance(error, LimitError) else f"the text is not YAML: {what}."
    return Problem(message, None, line, column)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    yaml.Representer = _Representer
    return yaml


class _Representer(RoundTripRepresenter):
    """Writes null as a word, which reads better than nothing."""


_Representer.add_representer(
    type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def block(value: Any) -> Any:
    """Text of several lines is shown as lines, wherever it stands."""
    if isinstance(value, str) and "\n" in value and _LITERAL.fullmatch(value):
        return LiteralScalarString(value)
    if isinstance(value, dict):
        return {name: block(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [block(inner) for inner in value]
    return value


def dump(values: dict[str, Any], *, quoted: bool = False) -> str:
    """Values as YAML.

    Args:
        quoted: all texts in quotes, with escapes.
    """
    yaml = YAML()
    yaml.width = WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    if quoted:
        style: Any = '"'  # declared as None, and documented as this
        yaml.default_style = style
        yaml.allow_unicode = False
    out = StringIO()
    yaml.dump(values, out)
    return out.getvalue()


def plain(root: Any, node: Any, loc: tuple[int | str, ...], problems: list[Problem]) -> Any:
    """A value as JSON has it; what JSON has not is a problem."""
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, str):
        return str(node)
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float) and math.isfinite(node):
        return float(node)
    if isinstance(node, dict):
        for name in node:
            if not isinstance(name, str):
                message = f"the name {name!r} is not text; put it in quotes."
                problems.append(locate(root, (*loc, name), message))
        return {str(n): plain(root, inner, (*loc, n), problems) for n, inner in node.items()}
    if isinstance(node, list):
        return [plain(root, inner, (*loc, n), problems) for n, inner in enumerate(node)]
    kind = type(node).__name__.lower()
    message = (
        f"the value is neither text nor a number ({kind}); put text that looks like this in quotes."
    )
    problems.append(locate(root, loc, message))
    return None


def locate(tree: Any, loc: tuple[Any, ...], message: str) -> Problem:
    """A problem at the innermost part of `loc` that the tree has."""
    line = column = None
    for part in loc:
        try:
            place = tree.lc.data[part]
            tree = tree[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
        line, column = place[0] + 1, place[1] + 1
    return Problem(message, ".".join(str(part) for part in loc), line, column)


def _put(tree: Any, path: str, value: Any) -> None:
    """Set a value of a tree that ruamel has read, or of a plain one."""
    first, _, rest = path.partition(".")
    below = _taken(tree, first)
    there = tree.get(first)
    if rest:
        if there is None:
            tree[first] = there = {}
        if not isinstance(there, dict):
            raise UsageError(f"{path}: {first} has no settings of its own.")
        _put(there, rest, value)
    elif isinstance(there, CommentedMap) and isinstance(value, dict) and there and value:
        for gone in there.keys() - value.keys():
            del there[gone]
        for name, inner in value.items():
            _put(there, name, inner)
    else:
        tree[first] = _commentable(value) if isinstance(tree, CommentedMap) else value
        made = tree[first]
        several = isinstance(there, CommentedSeq) and isinstance(made, CommentedSeq)
        if several and there.fa.flow_style():  # [a, b] stays on its line
            made.fa.set_flow_style()
    if below:
        _give(tree, first, below)


def _taken(tree: Any, key: str) -> str:
    """Take off what stands below a section, comments and empty lines, and so above what follows.

    ruamel hangs them on the last value within the section, with which they would go.
    """
    section = tree.get(key)
    if not isinstance(tree, CommentedMap) or not _is_block(section):
        return ""
    holder, last = _last(section)
    slots = holder.ca.items.get(last)
    token = slots and slots[_slot(holder)]
    if not token:
        return ""
    lines = token.value.splitlines(keepends=True)
    first = 0 if isinstance(holder[last], LiteralScalarString) else 1
    column = tree.lc.key(key)[1]
    outside = (
        place
        for place, line in enumerate(lines[first:], start=first)
        if line.strip() and len(line) - len(line.lstrip()) <= column
    )
    place = next(outside, len(lines))
    while place > first and not lines[place - 1].strip():
        place -= 1
    token.value = "".join(lines[:place])
    if not token.value.strip():
        slots[_slot(holder)] = None
    return "".join(lines[place:])


def _give(tree: Any, key: str, below: str) -> None:
    """Hang comments on the last value of what stands there now."""
    holder, last = _last(tree[key]) if _is_block(tree[key]) else (tree, key)
    slots = holder.ca.items.setdefault(last, [None, None, None, None])
    token = slots[_slot(holder)]
    before, mark = (token.value, token.start_mark) if token else ("", CommentMark(0))
    if not before and not isinstance(holder[last], LiteralScalarString):
        before = "\n"
    slots[_slot(holder)] = CommentToken(before + below, mark, None)


def _is_block(value: Any) -> bool:
    """Whether it is a section of lines, and not `{}`, `[a, b]` or one value."""
    return (
        isinstance(value, CommentedMap | CommentedSeq) and bool(value) and not value.fa.flow_style()
    )


def _last(section: Any) -> tuple[Any, Any]:
    """The innermost section whose value stands last, and that value's key or place."""
    last = next(reversed(section)) if isinstance(section, dict) else len(section) - 1
    return _last(section[last]) if _is_block(section[last]) else (section, last)


def _slot(holder: Any) -> int:
    """Where ruamel keeps the comment behind a value."""
    return 2 if isinstance(holder, CommentedMap) else 0


def _commentable(value: Any) -> Any:
    if isinstance(value, dict):
        return CommentedMap({name: _commentable(inner) for name, inner in value.items()})
    if isinstance(value, list):
        return CommentedSeq(_commentable(inner) for inner in value)
    return value
