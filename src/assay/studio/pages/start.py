"""Start."""

from __future__ import annotations

from assay.studio.frame import Page
from assay.studio.parts import button, card, heading, row, title
from assay.studio.visit import Visit


async def build(visit: Visit) -> None:
    title("Start", "Try")
    with card():
        heading("Hello", "there")
        with row():
            button("Go", kind="primary")
            button("Stop")


PAGE = Page("/", "Start", "rocket_launch", "Build", "viewer", build)
