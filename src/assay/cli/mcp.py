"""`assay mcp`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def mcp(
    folder: Annotated[
        Path, typer.Option(help="A project's folder, or one in which a project may be created.")
    ] = Path("."),
    skill: Annotated[
        bool, typer.Option("--skill", help="Print the skill file for coding agents, and exit.")
    ] = False,
) -> None:
    """Let a program on this machine, such as a coding agent, use a project by MCP (stdio).

    It never sees the holdout, opens it at most as often as `mcp` in assay.yaml says, and cannot
    promote. Over HTTP, `assay serve` offers the same at /mcp for keys with the scope mcp.
    """
    from assay.mcp import skill as skills

    if skill:
        print(skills.skill(), end="")
        return
    skills.check_installed()
    from assay.mcp.stdio import serve

    serve(folder)
