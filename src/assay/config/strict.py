"""What every part of the configuration has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part of the configuration: an unknown key is an error, not a silent typo."""

    model_config = ConfigDict(extra="forbid", frozen=True)
