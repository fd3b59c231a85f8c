"""In whose name a tool acts, and on which project.

A `Workspace` that a tool gets is always one of somebody on the web (`Workspace.act_as`): what a
program writes may name no more than what is written in the studio.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Protocol

from mcp.server.mcpserver import Context

from assay.accounts.keys import CALLER, Caller, name_of
from assay.agent.versions import user
from assay.compare.holdout import PROGRAM, is_program
from assay.config import CONFIG_FILE
from assay.errors import NotFoundError, StateError, UsageError
from assay.project import agents
from assay.project.agents import Draft
from assay.project.workspace import Workspace, project_of

MOST_NAME_CHARACTERS = 100
"""Of a key's name in logs."""
SCOPE = "mcp"


class Access(Protocol):
    """What the tools need to know of whoever calls.

    Attributes:
        root: the folder that is served; no path outside it is told.
    """

    root: Path

    def workspace(self, context: Context) -> Workspace:
        """The project, in the name of who asks.

        Raises:
            AssayError: there is none, or the caller may not use it.
        """

    def spender(self, context: Context) -> Workspace:
        """The same, of somebody who may start work that asks models of providers."""


class LocalAccess:
    """A program on this machine: whoever started it may do the same at the command line.

    Attributes:
        lock: held while the project is looked for, or made.

    Args:
        root: a project's folder, or one with at most one project directly in it.
        begun: called once a project is there whose jobs may be done.
    """

    def __init__(self, root: Path, begun: Callable[[Workspace], None]) -> None:
        self.root, self._begun = root.resolve(), begun
        self._found: Workspace | None = None
        self.lock = Lock()
        if not self.root.is_dir():
            raise UsageError("the folder does not exist.", where=str(root))

    def workspace(self, context: Context) -> Workspace:
        """The folder's project, in the name of whoever runs this process."""
        with self.lock:
            if self._found is None:
                found = Workspace(self._folder())
                project_of(found)
                self._found = found.act_as(f"{PROGRAM} stdio of {user()}")
                self._begun(self._found)
            return self._found

    spender = workspace

    def projects(self) -> list[str]:
        """Names of the folders directly in `root` that are projects."""
        return sorted(file.parent.name for file in self.root.glob(f"*/{CONFIG_FILE}"))

    def _folder(self) -> Path:
        if (self.root / CONFIG_FILE).exists():
            return self.root
        names = self.projects()
        if len(names) == 1:
            return self.root / names[0]
        if names:
            raise UsageError(
                f"this folder holds {len(names)} projects: {', '.join(names[:20])}.",
                fix="The owner has to name one: `assay mcp --folder NAME`.",
            )
        raise StateError(
            "there is no project in this folder yet.",
            fix="Make one of a file of examples with create_project.",
        )


class ServedAccess:
    """Keys of `assay serve`; the gate has let in only those that may."""

    def __init__(self, served: Workspace) -> None:
        self._served, self.root = served, served.root

    def workspace(self, context: Context) -> Workspace:
        """The project that is served, in the name of the key."""
        caller = self._caller(context)
        name = name_of(self._served.store, caller.key_id)[:MOST_NAME_CHARACTERS]
        acting = self._served.act_as(f"{PROGRAM} key {name} ({caller.key_id})")
        project_of(acting)
        return acting

    def spender(self, context: Context) -> Workspace:
        """As `workspace`; a key with a budget may not start what no budget holds."""
        if self._caller(context).budgeted:
            raise UsageError(
                "this key has a budget, which does not count what comparisons and trainings ask of "
                "providers.",
                fix="Ask the owner to start it, or for a key without a budget.",
            )
        return self.workspace(context)

    def _caller(self, context: Context) -> Caller:
        request = context.request_context.request
        caller = request.scope.get(CALLER) if request is not None else None
        if not isinstance(caller, Caller) or not caller.may(SCOPE):
            raise UsageError("this key may not use MCP.")  # the gate does not let this happen
        return caller


def find_own_agent(workspace: Workspace, name: str) -> Draft | None:
    """The newest version under a name, if a program has saved it; None: nobody has.

    Raises:
        UsageError: no agent can be called so.
        StateError: a person, or a comparison, has saved it.
    """
    agents.check_new_name(name)
    try:
        found = agents.read(workspace, name)
    except NotFoundError:
        return None
    if not is_program(found.version.author):
        raise StateError(
            f"{found.version.label} was not saved by a program, so no program saves over it.",
            fix="Take another name; it can be based on this one.",
        )
    return found
