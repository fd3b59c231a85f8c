"""The studio: web pages in the process of `assay serve`, over the same `assay.project` functions.

    studio = Studio(workspace, engines)
    studio.mount(app)                       # the app of `assay.serve`
    print(studio.welcome("http://127.0.0.1:8000"))

door.py      who may come in: sessions, the origin of requests, what leaves in headers
visit.py     what a page is given; actions, each with the role that it takes
frame.py     what is around every page: navigation, theme, notices
parts.py     what pages are built of
scripts.py   code for the browser, and what it works on
pages/       one file a page; `pages/__init__.py` lists them
studio.css   the one stylesheet
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.accounts import people
from assay.project.workspace import Workspace
from assay.studio.door import ENTER, PREFIX, Door

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
        """Put the pages into an app, behind their door."""
        from assay.studio.frame import mount  # with NiceGUI, which only a server needs

        mount(app, self.workspace, self.engines)
        app.add_middleware(Door, workspace=self.workspace, owns=self.owns)

    def welcome(self, address: str) -> str:
        """The line with a link that signs the owner in, once."""
        secret = people.owner_secret(self.workspace)
        return f"Studio (this link is good once, for an hour): {address}{ENTER}?once={secret}"
