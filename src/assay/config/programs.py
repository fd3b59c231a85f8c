"""What programs may do with a project by way of MCP (docs/mcp.md)."""

from __future__ import annotations

from pydantic import Field

from assay.config.strict import Strict


class Programs(Strict):
    """Limits for programs, such as coding agents, that use this project by `assay mcp`."""

    openings: int = Field(
        5,
        ge=0,
        le=1000,
        description="How often programs may open one holdout, all together; 0: never. Each opening "
        "makes the next verdict harder to reach.",
    )
