"""`assay mcp`: the tools over standard input and output, for a program that starts this one.

Standard output carries the protocol alone: the SDK points it at stderr for everybody else while it
serves, and what workers print goes there, too.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import anyio

from assay.jobs.service import WorkerSupervisor
from assay.mcp.access import LocalAccess
from assay.mcp.server import create_server
from assay.project.knowledge import vector_stores
from assay.project.workspace import Workspace


def serve(folder: Path) -> None:
    """Serve until standard input ends; jobs are done by workers beside, which then put them back.

    Raises:
        UsageError: there is no such folder.
    """
    with ExitStack() as workers:

        def begin(workspace: Workspace) -> None:
            def forget(project: str, file: str) -> None:
                vector_stores.forget_file(workspace, project, file, "expired")

            workers.enter_context(WorkerSupervisor(workspace.root, workspace.store, forget))

        server = create_server(LocalAccess(folder, begin))
        anyio.run(server.run_stdio_async)
