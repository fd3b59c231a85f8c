"""The skill file, for agents that look for one; needs no SDK."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from assay.errors import UsageError


def skill() -> str:
    """What a coding agent should know before it uses the tools: Markdown with a head."""
    return Path(__file__).with_name("SKILL.md").read_text(encoding="utf-8")


def is_installed() -> bool:
    """Whether the SDK is there."""
    return find_spec("mcp") is not None


def check_installed() -> None:
    """See that the SDK is there.

    Raises:
        UsageError: it is not.
    """
    if not is_installed():
        raise UsageError(
            "the SDK of the Model Context Protocol is not installed.",
            fix="Install it with `pip install 'assay[mcp]'`.",
        )
