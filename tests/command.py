"""The `assay` command as scripts see it, in this process: Python and its libraries start once.

done = run("data", "check", str(file), "--json")
assert "no project here" in sentence(run("compare", cwd=tmp_path), 1)
"""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from assay.cli import main


def run(*arguments: str, cwd: Path | None = None) -> CompletedProcess[str]:
    """What it prints and ends with; an error that is none of a user's goes on to the test."""
    out, errors, code = StringIO(), StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        patch.setenv("PYTHONSAFEPATH", "1")  # `main.run` sets it for good
        patch.setattr(sys, "argv", ["assay", *arguments])
        if cwd is not None:
            patch.chdir(cwd)
        try:
            main.run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def sentence(done: CompletedProcess[str], code: int) -> str:
    """What a command that fails with `code` says to people."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
