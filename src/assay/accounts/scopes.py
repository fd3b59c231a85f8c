"""What a key of the API may be good for. The command line lists it before anything is loaded."""

from __future__ import annotations

from typing import Literal, get_args

Scope = Literal[
    "admin", "chat", "files", "fine_tuning", "releases", "knowledge", "traces", "spans", "mcp"
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""All; `admin` is good for everything in its project."""
BY_LABEL: frozenset[str] = frozenset({"chat", "knowledge"})
"""What a key can be good for that sees only documents with some labels: the rest shows more."""
