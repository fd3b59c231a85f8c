"""The creation of a project in the folder that is served: one at a time, and how far it is.

    with begin_creation(workspace) as progress:  # a second one is refused
        ...
    read_creation(workspace)  # on any page, in any process

Whoever began it may have left meanwhile: fetching its model alone may take minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay import json_reader
from assay.errors import AssayError, StateError
from assay.progress import Progress, Silent
from assay.project.workspace import Workspace
from assay.store.files import write_json
from assay.store.locks import LockHeldError, is_locked_here, lock_at_once, lock_for_long

INTERRUPTED = "the server ended meanwhile. Press “Create project” to try again."
WRITTEN_EVERY_S = 0.5
LOOK_S = 1.0
"""Longer than a look of others holds the lock."""
_LOCK = "creation.lock"


@dataclass(frozen=True, slots=True)
class Creation:
    """A creation that runs, or the last one where it has failed.

    Attributes:
        doing: what is being done.
        share: of that, 0 to 1; None where nobody knows.
        error: why it failed; None: it runs.
    """

    doing: str = ""
    share: float | None = None
    error: str | None = None


@contextmanager
def begin_creation(workspace: Workspace) -> Iterator[Progress]:
    """Let the block create the project, and tell others how far it is.

    Raises:
        StateError: another one runs, in this process or another, on whichever machine.
    """
    file = _state_file(workspace)
    with ExitStack() as held:
        try:
            # What was created stands, though the database was away meanwhile.
            lock = lock_for_long(workspace.store, _LOCK, within=LOOK_S, lost=lambda: None)
            held.enter_context(lock)
        except LockHeldError:
            raise _running(workspace) from None
        try:
            yield _Report(file)
            file.unlink()
        except Exception as error:
            write_json(file, {"error": _describe(error, workspace.root)})
            raise


def read_creation(workspace: Workspace) -> Creation | None:
    """The creation that runs in this folder, or the last one if it has failed; None: neither."""
    file = _state_file(workspace)
    if not file.exists():
        return None
    runs = is_locked_here(workspace.store, _LOCK)
    try:
        state = json_reader.read(file.read_text(encoding="utf-8"))
    except FileNotFoundError:  # it has ended meanwhile
        return None
    if "error" in state or not runs:
        return Creation(error=state.get("error", INTERRUPTED))
    return Creation(state["doing"], state["share"])


def check_idle(workspace: Workspace) -> None:
    """Let what was uploaded be changed.

    Raises:
        StateError: a project is being created of it.
    """
    if is_locked_here(workspace.store, _LOCK):  # also where the lock of the database was lost
        raise _running(workspace)
    try:
        with lock_at_once(workspace.store, _LOCK, within=LOOK_S):
            return
    except LockHeldError:
        raise _running(workspace) from None


def forget_failure(workspace: Workspace) -> None:
    """Remove what was said of a creation that has failed."""
    _state_file(workspace).unlink(missing_ok=True)


class _Report(Silent):
    """Writes down what is being done, a few times a second at most."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.say("Reading the file")

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[_Report]:
        """A task whose share is written down."""
        self._begin(label, total)
        yield self

    def say(self, line: str) -> None:
        self._begin(line, None)

    def advance(self, amount: float = 1, **info: object) -> None:
        """Move on with the task that was begun last."""
        self._done += amount
        if time.monotonic() - self._written >= WRITTEN_EVERY_S:
            self._write()

    def _begin(self, doing: str, total: float | None) -> None:
        self._doing, self._total, self._done = doing, total, 0.0
        self._write()

    def _write(self) -> None:
        share = self._done / self._total if self._total else None
        write_json(self._file, {"doing": self._doing, "share": share})
        self._written = time.monotonic()


def _running(workspace: Workspace) -> StateError:
    if not is_locked_here(workspace.store, _LOCK):  # how far it is, is known in another folder
        return StateError("a project is being created, here or on another server.", fix="Wait.")
    return StateError(
        "a project is being created of what was uploaded here.",
        fix="Reload the page to see how far it is.",
    )


def _describe(error: Exception, root: Path) -> str:
    """Why it failed, without where the folder lies, which is nobody's business on a page."""
    if not isinstance(error, AssayError):
        return f"it was stopped by an error in Assay ({type(error).__name__})."
    return str(error).replace(f"{root}/", "").replace(str(root), "the folder")


def _state_file(workspace: Workspace) -> Path:
    return workspace.store.folder / "creation.json"
