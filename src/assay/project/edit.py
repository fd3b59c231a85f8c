"""assay.yaml with some settings changed and everything else as it was, comments and all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from assay.config import yaml_text
from assay.config.yaml_text import UNREADABLE
from assay.errors import ConfigError

_SCALAR = re.compile(r"[^\s#,}\]]+")


def edited(text: str, section: str, values: Mapping[str, float | str]) -> str:
    """The text of assay.yaml with settings of one section replaced or added.

    Raises:
        ConfigError: the section is written in a way that cannot be edited.
    """
    try:
        wanted = _plain(text)
    except UNREADABLE:
        raise _by_hand(section, values) from None
    have = dict(wanted.get(section) or {})
    wanted[section] = have | dict(values)
    for name, value in values.items():
        if name in have and have[name] == value:  # however it is spelled: 1e-3, 0.001
            continue
        text = _with(text, section, name, f"{value:g}" if isinstance(value, float) else str(value))
    try:
        done = _plain(text) == wanted
    except Exception:  # whatever it was, the text is not what was wanted
        done = False
    if not done:
        raise _by_hand(section, values)
    return text


def _by_hand(section: str, values: Mapping[str, float | str]) -> ConfigError:
    lines = "\n".join(f"  {name}: {value}" for name, value in values.items())
    return ConfigError(
        f"{section} cannot be changed without rewriting it.",
        where="assay.yaml",
        fix=f"Change it by hand to:\n{section}:\n{lines}",
    )


def _with(text: str, section: str, name: str, value: str) -> str:
    tree = yaml_text.read(text)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    if section not in tree:
        return "".join([*lines, f"\n{section}:\n  {name}: {value}\n"])
    part = tree[section]
    if not part:
        line = tree.lc.key(section)[0]
        found = re.fullmatch(rf"{section}:\s*(?:(null|~|{{\s*}})\s*)?(#.*)?\n", lines[line])
        if found:
            comment = f"  {found[2]}" if found[2] else ""
            lines[line] = f"{section}:{comment}\n  {name}: {value}\n"
    elif name in part:
        line, column = part.lc.value(name)
        lines[line] = lines[line][:column] + _SCALAR.sub(value, lines[line][column:], count=1)
    else:
        line, column = part.lc.key(next(iter(part)))
        added = f"{name}: {value}"
        added += ", " if part.fa.flow_style() else "\n" + " " * column
        lines[line] = lines[line][:column] + added + lines[line][column:]
    return "".join(lines)


def _plain(text: str) -> dict[str, Any]:
    tree: dict[str, Any] = yaml_text.read(text, simple=True)
    return tree
