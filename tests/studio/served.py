"""`python -m tests.studio.served FOLDER`: a folder with its studio; the engine echoes.

In a process of its own: NiceGUI has one app in a process.
"""

from __future__ import annotations

import sys
from pathlib import Path

from assay.project.workspace import Workspace
from assay.serve.server import serve
from assay.studio import Studio
from tests.serve.scripted import ScriptedEngines

if __name__ == "__main__":
    workspace = Workspace(Path(sys.argv[1]))
    engines = ScriptedEngines()
    serve(
        workspace,
        engines,
        lambda line: print(line, flush=True),
        port=0,
        pages=Studio(workspace, engines),
    )
