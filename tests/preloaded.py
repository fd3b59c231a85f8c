"""Processes that begin with the libraries loaded: forks of one that has imported them.

    process = Preloaded(main, ["assay", "serve"], folder, output, os.environ)
    process = run_code("import sys; print(sys.argv[1])", "word", output=output)

Importing torch, transformers and the web framework takes seconds of a processor, and dozens of
tests start a server. What differs from a fresh interpreter, so that a test of it needs one:

- modules are there, as they were imported with the environment of the first that was started;
- all have one seed for the hashes of texts, and one state of numpy's global generator;
- the end is `os._exit`: what runs at exit does not, nor does anything that native threads break;
- OpenMP has one thread, whatever the environment says: its library has read it with the imports.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, get_context
from pathlib import Path
from subprocess import TimeoutExpired
from unittest.mock import patch

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "assay.cli.main",
        "assay.serve.server",
        "assay.studio.frame",
        "assay.studio.pages",
        "alembic.command",
        "pandas",
        "peft",
        "psycopg",
        "scipy.stats",
        "sklearn.linear_model",
        "transformers.models.auto.tokenization_auto",
        "transformers.models.llama.modeling_llama",
    ]
)


class Preloaded:
    """A running one, in the words of `subprocess.Popen`.

    Args:
        output: a file; what it prints goes to its end.
        errors: the same for what is said there; None: to `output` as well.
    """

    def __init__(
        self,
        main: Callable[[], None],
        arguments: Sequence[str],
        folder: Path,
        output: Path,
        environment: Mapping[str, str],
        errors: Path | None = None,
    ) -> None:
        places = str(output), str(errors or output)
        given = (main, list(arguments), str(folder), places, dict(environment))
        with patch.dict(os.environ, OMP_NUM_THREADS="1"):
            forkserver.ensure_running()
        self._process = _CONTEXT.Process(target=_run, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit status, below 0 the signal, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (status := self.poll()) is None:
            raise TimeoutExpired(str(self.pid), timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def printed(main: Callable[[], None], *arguments: str, folder: Path, **environment: str) -> str:
    """What a process prints that ends well; its output goes into a file of `folder`."""
    output = folder / "printed.txt"
    given = ["-", *arguments]
    process = Preloaded(main, given, Path.cwd(), output, {**os.environ, **environment})
    try:
        assert process.wait() == 0, output.read_text()
    finally:
        process.kill()
    return output.read_text()


def run_code(code: str, *arguments: str, output: Path) -> Preloaded:
    """As `python -c` does in this folder."""
    return Preloaded(_execute, [code, *arguments], Path.cwd(), output, os.environ)


def _execute() -> None:
    code, sys.argv[0] = sys.argv[0], "-c"
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def _run(
    main: Callable[[], None],
    arguments: list[str],
    folder: str,
    places: tuple[str, str],
    environment: dict[str, str],
) -> None:
    """As a fresh process begins, but for what the module says."""
    for number, place in enumerate(places, start=1):
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = arguments
    main()
