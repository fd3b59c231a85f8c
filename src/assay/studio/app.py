"""Puts the studio into an app of `assay.serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.accounts import people
from assay.project.workspace import Workspace
from assay.studio.access import ENTER, PREFIX, AccessMiddleware

if TYPE_CHECKING:
    from fastapi import FastAPI

    from assay.generate.stream import EnginePool


class Studio:
    """The pages of one folder; one to a process."""

    def __init__(self, workspace: Workspace, engines: EnginePool) -> None:
        self.workspace, self.engines = workspace, engines

    def owns(self, path: str) -> bool:
        """Whether a path is one of the studio; `/` leads to it."""
        return path in ("/", PREFIX) or path.startswith(f"{PREFIX}/")

    def mount(self, app: FastAPI) -> None:
        """Put the pages into an app, behind `AccessMiddleware`."""
        # With NiceGUI, which only a server needs.
        from assay.studio.frame import mount
        from assay.studio.pages import PAGES

        mount(app, self.workspace, self.engines, PAGES)
        app.add_middleware(AccessMiddleware, workspace=self.workspace, owns=self.owns)

    def welcome(self, address: str) -> str:
        """The line with a link that signs the owner in, once; later links lead to this address."""
        self.workspace.store.set(people.ADDRESS, address)
        secret = people.owner_secret(self.workspace)
        return f"Studio (this link works once, within an hour): {address}{ENTER}?once={secret}"
