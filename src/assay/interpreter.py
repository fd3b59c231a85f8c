"""Another Python: files of the folder that it is started in are no modules to it.

    subprocess.Popen(python("-m", "assay.cli.main", "worker"), cwd=folder)

`-m` and `-c` put the working directory first on the path, so that a `psutil.py` in a served folder
would run in place of the library. Every Python that we start goes through here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import site
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path


def python(*arguments: str) -> list[str]:
    """The command that runs this interpreter with `arguments`."""
    return [sys.executable, "-P", *arguments]


def keep_folder_off_paths() -> None:
    """For what libraries start from this process, and what that starts: `multiprocessing` does."""
    os.environ["PYTHONSAFEPATH"] = "1"


def ending(code: int) -> str:
    """How a process has ended, in words.

    Args:
        code: the `returncode` of its `Popen`: below 0 where a signal ended it.
    """
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # most real-time signals have no name
        return f"signal {-code}"


def startup_code() -> dict[str, str | None]:
    """Files that every start of this Python runs, and the package that each is of.

    Python runs those lines of a `.pth` file that begin with `import`, and modules of two names; any
    package may bring one. None: no package says that the file is its own, as it is now.
    """
    folders = [Path(folder) for folder in site.getsitepackages()]
    if site.ENABLE_USER_SITE:  # not in a virtual environment
        folders.append(Path(site.getusersitepackages()))
    owners = dict(_recorded()) if (found := [f for folder in folders for f in _run(folder)]) else {}
    return {str(file): owners.get((file.name, _digest(file))) for file in found}


def _run(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.glob("*.pth")):
        if re.search(rb"^import[ \t]", file.read_bytes(), re.MULTILINE):
            yield file
    for name in ("sitecustomize.py", "usercustomize.py"):
        if (folder / name).is_file():
            yield folder / name


def _recorded() -> Iterator[tuple[tuple[str, str], str]]:
    """Name and hash of each such file that a package has installed, and the package."""
    line = re.compile(r"^([^/\n,]+(?:\.pth|customize\.py)),sha256=([\w-]+)", re.MULTILINE)
    for package in distributions():
        for name, digest in line.findall(package.read_text("RECORD") or ""):
            yield (name, digest), str(package.metadata["Name"])


def _digest(file: Path) -> str:
    raw = hashlib.sha256(file.read_bytes()).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
