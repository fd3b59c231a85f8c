"""Where versions are trained: in one process, or in several on a Ray cluster."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assay.config.strict import Strict
from assay.defaults import MOST_RANKS


class Place(Strict):
    """Where versions are trained (docs/scale.md)."""

    on: Literal["here", "ray"] = Field(
        "here",
        description="here: the process of the command; ray: that process and others on Ray.",
    )
    ranks: int = Field(
        2,
        ge=2,
        le=MOST_RANKS,
        description="With `on: ray`: how many processes share the rows of each step.",
    )
    consent: bool = Field(
        False,
        description="Whether training rows may go to other machines of a Ray cluster.",
    )

    @property
    def size(self) -> int:
        """How many processes train one version."""
        return self.ranks if self.on == "ray" else 1
