"""What a page is given, and the actions a person can take there, each with the role it needs.

    promote = workspace_action("editor", releases.promote)
    release = await context.do(promote, "support", "few-shot@2")

The role is asked of the store when the action is taken, not when the page was built.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from assay.accounts import people
from assay.accounts.people import NotAllowedError, Person, Role, SignedOutError
from assay.errors import AssayError
from assay.generate.stream import EnginePool
from assay.project.workspace import Workspace

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
Refresh = Callable[[], Awaitable[None]]
"""Reads a part of a page again and shows it."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """One person on one page.

    Attributes:
        workspace: changes made through it are put to the person's name.
        session: secret of the session, to ask again by.
        address: of the server, as the browser reached it, without a slash at its end.
        role: what the page takes, and whatever is done there that is no action of its own.
        title: of the page; empty where it is a route of no page.
    """

    workspace: Workspace
    engines: EnginePool
    person: Person
    session: str
    address: str
    role: Role = "viewer"
    title: str = ""

    def may(self, role: Role) -> bool:
        """Whether a control for this role is worth showing; an action asks again."""
        return self.person.may(role)

    async def do(
        self, act: Callable[Concatenate[PageContext, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Do something that takes a while in a thread, so that nobody else waits.

        Raises:
            SignedOutError, NotAllowedError: the person may not, now.
            AssayError: what the function raises; files of the folder are named from there on, since
                where it lies on the server is nobody's business. A bug, too: every step of a page
                ends in a sentence, wherever the page shows it.
        """

        def allowed() -> R:
            if not isinstance(act, Action):  # which asks by itself
                check_role(self, self.role)
            return act(self, *args, **kwargs)

        try:
            return await asyncio.to_thread(allowed)
        except AssayError as error:
            error.advise_page(self.title)
            error.calling(f"{self.workspace.root}/", "")
            error.calling(str(self.workspace.root), "the folder")
            raise
        except Exception as error:
            log.exception("a step of a page has failed")
            raise as_sentence(error) from error

    async def read(
        self, reading: Callable[Concatenate[Workspace, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a function of the workspace in a thread, for whom the page is open. See `do`."""
        return await self.do(lambda context: reading(context.workspace, *args, **kwargs))


def as_sentence(error: Exception) -> AssayError:
    """What a page says of an error: of a bug, that it is one."""
    if isinstance(error, AssayError):
        return error
    return AssayError(
        f"this was stopped by an error in Assay ({type(error).__name__}).",
        fix="Reload the page and try again. The server's log has the details for a bug report.",
    )


class LatestRequest:
    """Tells whether a reading is the one that was started last: an earlier one may end later, and
    is not shown then.

        is_latest = latest.start()
        found = await context.do(read, chosen)
        if is_latest():
            ...
    """

    def __init__(self) -> None:
        self._started = 0

    def start(self) -> Callable[[], bool]:
        """Start a reading; the result says whether none was started since."""
        self._started += 1
        mine = self._started
        return lambda: mine == self._started


class Action(Generic[P, R]):
    """A function that asks who calls it, see `action`."""

    def __init__(self, role: Role, work: Callable[Concatenate[PageContext, P], R]) -> None:
        self.role, self.work = role, work
        self.__doc__ = work.__doc__

    def __call__(self, context: PageContext, *args: P.args, **kwargs: P.kwargs) -> R:
        """Check the role and call the function.

        Raises:
            SignedOutError, NotAllowedError: the person may not.
        """
        check_role(context, self.role)
        return self.work(context, *args, **kwargs)


ACTIONS: dict[str, Action[Any, Any]] = {}
"""Every action, by module and name."""


def action(
    role: Role,
) -> Callable[[Callable[Concatenate[PageContext, P], R]], Action[P, R]]:
    """Makes a function that takes a context an action that needs a role."""

    def make(work: Callable[Concatenate[PageContext, P], R]) -> Action[P, R]:
        made = Action(role, work)
        ACTIONS[f"{work.__module__}.{work.__qualname__}"] = made
        return made

    return make


def workspace_action(role: Role, work: Callable[Concatenate[Workspace, P], R]) -> Action[P, R]:
    """Makes a function of a workspace an action that needs a role."""

    @wraps(work)
    def of_page(context: PageContext, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return work(context.workspace, *args, **kwargs)

    return action(role)(of_page)


def is_admin(context: PageContext) -> bool:
    """Whether the person is an admin now, by the store."""
    try:
        check_role(context, "admin")
    except NotAllowedError:
        return False
    return True


def check_role(context: PageContext, role: Role) -> None:
    """Ask the store whether the person is signed in and has a role.

    Raises:
        SignedOutError: the session is over.
        NotAllowedError: the role is too low.
    """
    person = people.find_signed_in(context.workspace, context.session)
    if person is None:
        raise SignedOutError("you are no longer signed in.", fix="Ask for a new link.")
    if not person.may(role):
        raise NotAllowedError(
            f"this requires the role {role}; yours is {person.role}.", fix="Ask an admin."
        )
