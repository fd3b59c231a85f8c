"""An agent as a person edits it: YAML with comments, whose every problem has a line and a field.

    agent, problems = parsed(text)
    text = edited(text, {"temperature": 0.3})

`as_yaml` spells an agent that no person has written yet.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.scalarstring import LiteralScalarString
from ruamel.yaml.tokens import AliasToken, CommentToken
from ruamel.yaml.util import load_yaml_guess_indent

from assay.agent.agent import Agent, messages_of
from assay.errors import ConfigError, UsageError

LONGEST = 1_000_000
"""Characters of a text that is looked at."""

_ALWAYS = ("model", "system_prompt", "constrained", "max_new_tokens", "temperature", "seed")
"""Settings that are written even where they are as they would be anyway."""
_LITERAL = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]*")
_WIDTH = 1 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a text that keeps it from being an agent.

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
        """JSON-ready."""
        return asdict(self)


class InvalidAgentError(ConfigError):
    """A text that is no agent.

    Args:
        problems: all that were found, in the order of the text.
    """

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self.problems = problems
        first, more = problems[0], len(problems) - 1
        super().__init__(
            f"{first.field + ': ' if first.field else ''}{first.message}",
            where=f"agent {name}, line {first.line}" if first.line else f"agent {name}",
            fix=f"Nothing was saved. ({len(problems)} problems in all.)"
            if more
            else "Nothing was saved.",
        )


def parsed(text: str) -> tuple[Agent | None, list[Problem]]:
    """The agent that a text says; None with at least one problem where it says none."""
    tree, problems = _tree(text)
    if problems:
        return None, problems
    values = _plain(tree, tree, (), problems)
    if problems:
        return None, problems
    try:
        agent = Agent.model_validate(values)
    except ValidationError as error:
        found = [_located(tree, raw["loc"], _sentence(raw)) for raw in error.errors()]
        return None, sorted(found, key=lambda p: (p.line or 0, p.column or 0))
    for number, turns in enumerate(agent.shown):
        try:
            messages_of(turns)
        except (KeyError, TypeError, AttributeError):
            problems.append(
                _located(tree, ("shown", number), "these are no messages with role and content.")
            )
    return (None, problems) if problems else (agent, [])


def problem_at(text: str, field: str, message: str) -> Problem:
    """A problem of a setting of a text that `parsed` takes for an agent, with its place."""
    tree, _ = _tree(text)
    return _located(tree, tuple(field.split(".")), message)


def as_yaml(agent: Agent) -> str:
    """An agent in YAML: what is particular about it, and the settings that people change most."""
    usual = Agent(model="").model_dump(mode="json")
    values = {
        name: value
        for name, value in agent.model_dump(mode="json").items()
        if name in _ALWAYS or value != usual[name]
    }
    text = _dumped({name: _block(value) for name, value in values.items()})
    if parsed(text)[0] == agent:
        return text
    # Characters that YAML shows in no other way: everything in quotes, escaped.
    return _dumped(values, quoted=True)


def edited(text: str, values: Mapping[str, Any]) -> str:
    """A text with settings changed or added (`nearest.k` is a setting too), comments and all.

    Raises:
        ConfigError: the text is no YAML, or is written in a way that cannot be edited.
        UsageError: a setting lies in one that holds no others.
    """
    tree, problems = _tree(text)
    if problems:
        raise ConfigError(str(problems[0]), fix="Mend the text first.")
    wanted = _plain(tree, tree, (), [])
    _, indent, offset = load_yaml_guess_indent(text)
    for path, value in values.items():
        _put(tree, path, _block(value))
        _put(wanted, path, value)
    yaml = _yaml()
    if indent:
        # What was guessed is how far a list's items stand in; a mapping's lines stand in by two.
        yaml.indent(mapping=2, sequence=max(indent, (offset or 0) + 2), offset=offset or 0)
    out = StringIO()
    yaml.dump(tree, out)
    again, broken = _tree(out.getvalue())
    if broken or _plain(again, again, (), []) != wanted:
        raise ConfigError(
            "this text cannot be changed without rewriting it.",
            fix="Change it by hand: `assay agent edit` opens an editor.",
        )
    return out.getvalue()


def value_of(setting: str, text: str) -> Any:
    """What `--set SETTING=TEXT` means: text where the setting is text, else what YAML reads.

    Raises:
        UsageError: it is no YAML.
    """
    field = Agent.model_fields.get(setting)
    if (field is not None and field.annotation is str) or setting.startswith("variables."):
        return text
    tree, problems = _tree(text, mapping=False)
    if problems:
        raise UsageError(f"--set {setting}: {problems[0].message}")
    value = _plain(tree, tree, (), problems)
    if problems:
        raise UsageError(f"--set {setting}: {problems[0].message}")
    return value


def _tree(text: str, *, mapping: bool = True) -> tuple[Any, list[Problem]]:
    """What ruamel reads, with its places; or the problem that keeps it from being read."""
    if len(text) > LONGEST:
        return None, [Problem(f"the text has more than {LONGEST} characters.")]
    try:
        for token in YAML().scan(text):
            if isinstance(token, AliasToken):  # a few of them can stand for billions of values
                at = token.start_mark
                message = "write the value out; references (*) are not followed."
                return None, [Problem(message, None, at.line + 1, at.column + 1)]
        tree = _yaml().load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        return None, [Problem(f"this is not YAML: {what}.", None, line, column)]
    except RecursionError:
        return None, [Problem("values lie too deep within each other.")]
    except ValueError as error:  # 2024-13-45 looks like a date and is none
        return None, [Problem(f"this is not YAML: {error}.")]
    if mapping and not isinstance(tree, dict):
        return None, [Problem("this is no agent (no `key: value` lines).", None, 1, 1)]
    return tree, []


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    return yaml


def _dumped(values: dict[str, Any], *, quoted: bool = False) -> str:
    yaml = YAML()
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    if quoted:
        style: Any = '"'  # declared as None, and documented as this
        yaml.default_style = style
        yaml.allow_unicode = False
    out = StringIO()
    yaml.dump(values, out)
    return out.getvalue()


def _block(value: Any) -> Any:
    """Text of several lines is shown as lines, wherever it stands."""
    if isinstance(value, str) and "\n" in value and _LITERAL.fullmatch(value):
        return LiteralScalarString(value)
    if isinstance(value, dict):
        return {name: _block(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_block(inner) for inner in value]
    return value


def _plain(root: Any, node: Any, loc: tuple[int | str, ...], problems: list[Problem]) -> Any:
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
                message = f"the name {name!r} is no text; put it into quotes."
                problems.append(_located(root, (*loc, name), message))
        return {str(n): _plain(root, inner, (*loc, n), problems) for n, inner in node.items()}
    if isinstance(node, list):
        return [_plain(root, inner, (*loc, n), problems) for n, inner in enumerate(node)]
    kind = type(node).__name__.lower()
    message = f"this is neither text nor number ({kind}); text that looks so goes into quotes."
    problems.append(_located(root, loc, message))
    return None


def _located(tree: Any, loc: tuple[Any, ...], message: str) -> Problem:
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


def _sentence(raw: Any) -> str:
    kind, message = raw["type"], str(raw["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        message = "there is no such setting"
    elif kind == "missing":
        message = "this setting is missing"
    return message.rstrip(".") + "."


def _put(tree: Any, path: str, value: Any) -> None:
    """Set a value of a tree that ruamel has read, or of a plain one."""
    first, _, rest = path.partition(".")
    below = _taken(tree, first)
    there = tree.get(first)
    if rest:
        if there is None:
            tree[first] = there = {}
        if not isinstance(there, dict):
            raise UsageError(f"{path}: {first} holds no other settings.")
        _put(there, rest, value)
    elif isinstance(there, CommentedMap) and isinstance(value, dict) and there and value:
        for gone in there.keys() - value.keys():
            del there[gone]
        for name, inner in value.items():
            _put(there, name, inner)
    else:
        tree[first] = _commentable(value) if isinstance(tree, CommentedMap) else value
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
    before = token.value if token else ""
    if not before and not isinstance(holder[last], LiteralScalarString):
        before = "\n"
    slots[_slot(holder)] = CommentToken(before + below, CommentMark(0), None)


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
