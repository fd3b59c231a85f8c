"""What a page is given, and the actions a person can take there, each with the role it needs.

    @action("editor")
    def promote(visit: Visit, name: str, label: str) -> Release:
        return releases.promote(visit.workspace, name, label)

    release = await visit.do(promote, "support", "few-shot@2")

The role is asked of the store when the action is taken, not when the page was built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from assay.accounts import people
from assay.accounts.people import NotAllowedError, Person, Role, SignedOutError
from assay.errors import AssayError
from assay.generate.stream import EnginePool
from assay.project.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Visit:
    """One person on one page.

    Attributes:
        workspace: changes made through it are put to the person's name.
        session: secret of the session, to ask again by.
        address: of the server, as the browser reached it, without a slash at its end.
        role: what the page takes, and whatever is done there that is no action of its own.
    """

    workspace: Workspace
    engines: EnginePool
    person: Person
    session: str
    address: str
    role: Role = "viewer"

    def may(self, role: Role) -> bool:
        """Whether a control for this role is worth showing; an action asks again."""
        return self.person.may(role)

    async def do(
        self, act: Callable[Concatenate[Visit, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Do something that takes a while in a thread, so that nobody else waits.

        Raises:
            SignedOutError, NotAllowedError: the person may not, now.
            AssayError: what the function raises; files of the folder are named from there on, since
                where it lies on the server is nobody's business.
        """

        def allowed() -> R:
            if not isinstance(act, Action):  # which asks by itself
                check(self, self.role)
            return act(self, *args, **kwargs)

        try:
            return await asyncio.to_thread(allowed)
        except AssayError as error:
            error.calling(f"{self.workspace.root}/", "")
            error.calling(str(self.workspace.root), "the folder")
            raise


class Newest:
    """Of several readings that are under way only the one that was begun last is shown: an earlier
    one may end later.

    is_newest = newest.begun()
    found = await visit.do(read, chosen)
    if is_newest():
        ...
    """

    def __init__(self) -> None:
        self._begun = 0

    def begun(self) -> Callable[[], bool]:
        """Begin one; whether none was begun since."""
        self._begun += 1
        mine = self._begun
        return lambda: mine == self._begun


class Action(Generic[P, R]):
    """A function that asks who calls it, see `action`."""

    def __init__(self, role: Role, work: Callable[Concatenate[Visit, P], R]) -> None:
        self.role, self.work = role, work
        self.__doc__ = work.__doc__

    def __call__(self, visit: Visit, *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask, and do it.

        Raises:
            SignedOutError, NotAllowedError: the person may not.
        """
        check(visit, self.role)
        return self.work(visit, *args, **kwargs)


ACTIONS: dict[str, Action[Any, Any]] = {}
"""Every action, by module and name."""


def action(
    role: Role,
) -> Callable[[Callable[Concatenate[Visit, P], R]], Action[P, R]]:
    """Makes a function of a visit an action that takes a role."""

    def make(work: Callable[Concatenate[Visit, P], R]) -> Action[P, R]:
        made = Action(role, work)
        ACTIONS[f"{work.__module__}.{work.__qualname__}"] = made
        return made

    return make


def is_admin(visit: Visit) -> bool:
    """Whether whoever is here is an admin now; the store says so."""
    try:
        check(visit, "admin")
    except NotAllowedError:
        return False
    return True


def check(visit: Visit, role: Role) -> None:
    """Ask the store whether the visit's person is signed in, and may.

    Raises:
        SignedOutError: the session is over.
        NotAllowedError: the role is too low.
    """
    person = people.signed_in(visit.workspace, visit.session)
    if person is None:
        raise SignedOutError("you are not signed in any more.", fix="Ask for a new link.")
    if not person.may(role):
        raise NotAllowedError(
            f"this takes the role {role}; yours is {person.role}.", fix="Ask an admin."
        )
