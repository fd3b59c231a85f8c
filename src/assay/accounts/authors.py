"""Who did something, in words."""

from __future__ import annotations

import re

_KEY_ID = re.compile(r" \(key_\w+\)$")


def format_author(who: str) -> str:
    """Who did something, as the store names them (`user:ann`, `cli:ann`, `mcp: key coder (key_1f)`;
    `ann`, whose process it was), for a person. That a server or a container runs as root says
    nothing of who it was."""
    kind, _, name = who.partition(":")
    if name == "root" and kind == "cli":
        return "the command line"
    if who == "root":
        return "the server"
    program = _KEY_ID.sub("", name).strip()
    known = {"user": name, "cli": f"{name}, on the command line", "mcp": f"a program ({program})"}
    return known.get(kind, who)
