"""Another Python: files of the folder that it is started in are no modules to it.

    subprocess.Popen(python("-m", "assay.cli.main", "worker"), cwd=folder)

`-m` and `-c` put the working directory first on the path, so that a `psutil.py` in a served folder
would run in place of the library. Every Python that we start goes through here.
"""

from __future__ import annotations

import os
import sys


def python(*arguments: str) -> list[str]:
    """The command that runs this interpreter with `arguments`."""
    return [sys.executable, "-P", *arguments]


def keep_folder_off_paths() -> None:
    """For what libraries start from this process, and what that starts: `multiprocessing` does."""
    os.environ["PYTHONSAFEPATH"] = "1"
